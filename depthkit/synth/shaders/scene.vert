#version 330
// SPDX-License-Identifier: Apache-2.0
// Camera coordinates of each vertex now and at the other time. Row 0 of the target is the top row.

layout(std140) uniform Poses { mat4 here[128]; mat4 there[128]; };
uniform vec4 lens;   // fx, fy, cx, cy, pixels
uniform vec4 range;  // width, height, near, far

in vec3 in_point, in_normal, in_other;
in vec2 in_uv, in_look;
in float in_layer, in_slot, in_id;

out vec3 point, other, normal;
out vec3 texel;
flat out vec2 look;
flat out float id;

void main() {
    int slot = int(in_slot + 0.5);
    point = (here[slot] * vec4(in_point, 1.0)).xyz;
    other = (there[slot] * vec4(in_other, 1.0)).xyz;
    normal = mat3(here[slot]) * in_normal;
    texel = vec3(in_uv, in_layer);
    look = in_look;
    id = in_id;
    float near = range.z, far = range.w;
    vec2 pixel = lens.xy * point.xy + (lens.zw + 0.5) * point.z;  // times z
    gl_Position = vec4(2.0 * pixel / range.xy - point.z,
                       (far + near) / (far - near) * point.z - 2.0 * far * near / (far - near),
                       point.z);
}
