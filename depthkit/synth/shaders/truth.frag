#version 330
// SPDX-License-Identifier: Apache-2.0
// Depth, the point at the other time, and the body's number plus one.

in vec3 point, other;
flat in float id;
layout(location = 0) out vec4 truth;
layout(location = 1) out uint body;

void main() {
    truth = vec4(point.z, other);
    body = uint(id + 1.5);
}
