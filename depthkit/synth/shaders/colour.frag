#version 330
// SPDX-License-Identifier: Apache-2.0
// Lambert from a sun and a lamp on the camera (inverse square), and the lamp's highlight.

uniform sampler2DArray textures;
uniform vec4 light;  // ambient, sun, lamp, shininess
uniform vec3 sun_direction;  // towards it, camera frame
uniform float gamma;

in vec3 point, normal, texel;
flat in vec2 look;  // gloss, relief
out vec4 colour;

float height(vec2 uv) {
    return dot(texture(textures, vec3(uv, texel.z)).rgb, vec3(0.3333));
}

// Mikkelsen 2010, "Bump mapping unparametrized surfaces on the GPU", eq. 3 and 4.
vec3 bend(vec3 n) {
    vec3 dx = dFdx(point), dy = dFdy(point);
    float here = height(texel.xy);
    float hx = height(texel.xy + dFdx(texel.xy)) - here;
    float hy = height(texel.xy + dFdy(texel.xy)) - here;
    vec3 rx = cross(dy, n), ry = cross(n, dx);
    float det = dot(dx, rx);
    return normalize(abs(det) * n - look.y * sign(det) * (hx * rx + hy * ry));
}

void main() {
    vec3 n = normalize(normal);
    float distance2 = dot(point, point);
    vec3 to_camera = -point * inversesqrt(distance2);
    if (dot(n, to_camera) < 0.0) n = -n;
    if (look.y > 0.0) n = bend(n);
    float facing = max(dot(n, to_camera), 0.0);
    float lamp = light.z / distance2;
    float sun = light.y * max(dot(n, sun_direction), 0.0);
    vec3 albedo = texture(textures, texel).rgb;
    if (gamma != 1.0) albedo = pow(albedo, vec3(gamma));
    vec3 shade = albedo * (light.x + sun + lamp * facing);
    if (look.x > 0.0) shade += look.x * lamp * pow(facing, light.w);
    if (gamma != 1.0) shade = pow(min(shade, 1.0), vec3(1.0 / gamma));
    colour = vec4(shade, 1.0);
}
