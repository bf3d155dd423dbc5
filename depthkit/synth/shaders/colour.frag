#version 330
// SPDX-License-Identifier: Apache-2.0
// Lambert from a sun and a lamp on the camera (inverse square), and the lamp's highlight. RELIEF,
// GLOSS and GAMMA are defined where a scene needs them: on a CPU a branch not taken costs as much.

uniform sampler2DArray textures;
uniform vec4 light;  // ambient, sun, lamp, shininess
uniform vec3 sun_direction;  // towards it, camera frame
#ifdef GAMMA
uniform float gamma;
#endif

in vec3 point, normal, texel;
flat in vec2 look;  // gloss, relief
out vec4 colour;

#ifdef RELIEF
// Mikkelsen 2010, "Bump mapping unparametrized surfaces on the GPU", eq. 3 and 4; the height is the
// albedo's mean, its slope that between neighbouring fragments.
vec3 bend(vec3 n, vec3 albedo) {
    float height = dot(albedo, vec3(0.3333));
    vec3 dx = dFdx(point), dy = dFdy(point);
    vec3 rx = cross(dy, n), ry = cross(n, dx);
    float det = dot(dx, rx);
    return normalize(abs(det) * n - look.y * sign(det) * (dFdx(height) * rx + dFdy(height) * ry));
}
#endif

void main() {
    vec3 n = normalize(normal);
    float distance2 = dot(point, point);
    vec3 to_camera = -point * inversesqrt(distance2);
    if (dot(n, to_camera) < 0.0) n = -n;
    vec3 albedo = texture(textures, texel).rgb;
#ifdef RELIEF
    if (look.y > 0.0) n = bend(n, albedo);
#endif
    float facing = max(dot(n, to_camera), 0.0);
    float lamp = light.z / distance2;
    float sun = light.y * max(dot(n, sun_direction), 0.0);
#ifdef GAMMA
    albedo = pow(albedo, vec3(gamma));
#endif
    vec3 shade = albedo * (light.x + sun + lamp * facing);
#ifdef GLOSS
    shade += look.x * lamp * pow(facing, light.w);
#endif
#ifdef GAMMA
    shade = pow(min(shade, 1.0), vec3(1.0 / gamma));
#endif
    colour = vec4(shade, 1.0);
}
