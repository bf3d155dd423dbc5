// SPDX-License-Identifier: Apache-2.0
// A surface and a camera's path, to be turned, moved and flown along. No library, no network.
(() => {
  "use strict";
  // A page may hold several views: each script stands behind its data, and these behind the view.
  const data = document.currentScript.previousElementSibling;
  const box = data.previousElementSibling;
  const canvas = box.querySelector("canvas");
  const scene = JSON.parse(data.textContent);
  const gl = canvas.getContext("webgl2", { antialias: true });
  if (!gl) {
    box.querySelector(".scene-missing").hidden = false;
    canvas.hidden = true;
    return;
  }

  // --- small linear algebra; matrices are column-major ---
  const cross = (a, b) => [
    a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const add = (a, b, s = 1) => [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]];
  const unit = (a) => { const n = Math.hypot(...a) || 1; return a.map((x) => x / n); };
  const times = (A, B) => {
    const C = new Float32Array(16);
    for (let c = 0; c < 4; c++) for (let r = 0; r < 4; r++)
      for (let k = 0; k < 4; k++) C[4 * c + r] += A[4 * k + r] * B[4 * c + k];
    return C;
  };
  const looking = (eye, right, up, back) => new Float32Array([
    right[0], up[0], back[0], 0, right[1], up[1], back[1], 0, right[2], up[2], back[2], 0,
    -dot(right, eye), -dot(up, eye), -dot(back, eye), 1]);
  const perspective = (tangent, aspect, near, far) => new Float32Array([
    1 / (tangent * aspect), 0, 0, 0, 0, 1 / tangent, 0, 0,
    0, 0, (far + near) / (near - far), -1, 0, 0, 2 * far * near / (near - far), 0]);

  // --- what is drawn; the world has y down and z forward ---
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const buffer = (target, values) => {
    const one = gl.createBuffer();
    gl.bindBuffer(target, one);
    gl.bufferData(target, values, gl.STATIC_DRAW);
    return one;
  };
  const compile = (vertex, fragment) => {
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, "#version 300 es\nprecision highp float;\n" + text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw gl.getProgramInfoLog(program);
    return program;
  };
  const surface = compile(
    `in vec3 position; in vec3 colour; uniform mat4 view; uniform vec3 low, span;
     uniform float size; out vec3 seen, at;
     void main() { at = low + span * position; seen = colour; gl_Position = view * vec4(at, 1.0);
       gl_PointSize = clamp(size / gl_Position.w, 1.5, 12.0); }`,
    `in vec3 seen, at; uniform vec3 eye; uniform float shaded, plain; out vec4 shown;
     void main() { vec3 normal = normalize(cross(dFdx(at), dFdy(at)));
       float light = mix(1.0, 0.45 + 0.55 * abs(dot(normal, normalize(eye - at))), shaded);
       shown = vec4(light * mix(seen, vec3(0.82), plain), 1.0); }`);
  const lines = compile(
    `in vec3 position; in vec3 colour; uniform mat4 view; out vec3 seen;
     void main() { seen = colour; gl_Position = view * vec4(position, 1.0); }`,
    "in vec3 seen; out vec4 shown; void main() { shown = vec4(seen, 1.0); }");
  const attribute = (program, name, source, kind, normalised) => {
    const at = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, source);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, 3, kind, normalised, 0, 0);
  };
  const meshed = gl.createVertexArray();
  gl.bindVertexArray(meshed);
  attribute(surface, "position",
    buffer(gl.ARRAY_BUFFER, bytes(scene.positions)), gl.UNSIGNED_SHORT, true);
  attribute(surface, "colour",
    buffer(gl.ARRAY_BUFFER, bytes(scene.colours)), gl.UNSIGNED_BYTE, true);
  buffer(gl.ELEMENT_ARRAY_BUFFER, bytes(scene.faces));

  // The path from blue to orange, with a frame of the picture drawn now and then.
  const poses = scene.path, ends = [], inks = [];
  const ink = (share) => [0.2 + 0.75 * share, 0.45, 0.9 - 0.75 * share];
  const draw = (a, b, c) => { ends.push(...a, ...b); inks.push(...c, ...c); };
  const [tangentX, tangentY] = scene.view, reach = 0.045 * scene.extent;
  const corner = (pose, x, y) => {
    const [centre, right, down, forward] = pose;
    return add(add(add(centre, forward, reach), right, x * tangentX * reach),
      down, y * tangentY * reach);
  };
  poses.forEach((pose, i) => {
    const colour = ink(i / Math.max(1, poses.length - 1));
    if (i && !pose[4]) draw(poses[i - 1][0], pose[0], colour);
    if (i % Math.ceil(poses.length / 14) && i !== poses.length - 1) return;
    const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([x, y]) => corner(pose, x, y));
    corners.forEach((one, k) => {
      draw(pose[0], one, colour);
      draw(one, corners[(k + 1) % 4], colour);
    });
  });
  const pathed = gl.createVertexArray();
  gl.bindVertexArray(pathed);
  attribute(lines, "position", buffer(gl.ARRAY_BUFFER, new Float32Array(ends)), gl.FLOAT, false);
  attribute(lines, "colour", buffer(gl.ARRAY_BUFFER, new Float32Array(inks)), gl.FLOAT, false);

  // --- the viewer's place: around a point, or on the path ---
  const up = [0, -1, 0];
  const start = () => ({
    around: [...scene.centre], distance: 1.15 * scene.extent, yaw: scene.yaw, pitch: 0.5, ride: -1,
  });
  let place = start();
  const show = { points: !scene.triangles, plain: false, path: true };
  const axes = () => {
    const [c, s] = [Math.cos(place.pitch), Math.sin(place.pitch)];
    const forward = [Math.sin(place.yaw) * c, s, Math.cos(place.yaw) * c];
    const right = unit(cross(forward, up));
    return { forward, right, up: cross(right, forward) };
  };
  const render = () => {
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    const aspect = canvas.width / Math.max(1, canvas.height);
    let eye, view, tangent = 0.5;
    if (place.ride >= 0) {
      const [centre, right, down, forward] = poses[place.ride];
      eye = centre;
      tangent = Math.max(tangentY, tangentX / aspect);
      view = looking(eye, right, down.map((x) => -x), forward.map((x) => -x));
    } else {
      const at = axes();
      eye = add(place.around, at.forward, -place.distance);
      view = looking(eye, at.right, at.up, at.forward.map((x) => -x));
    }
    const near = 0.002 * (place.ride >= 0 ? scene.extent : Math.max(place.distance, 1e-6));
    view = times(perspective(tangent, aspect, near, 20 * scene.extent + place.distance), view);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(...scene.background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(surface);
    const set = (name) => gl.getUniformLocation(surface, name);
    gl.uniformMatrix4fv(set("view"), false, view);
    gl.uniform3fv(set("low"), scene.low);
    gl.uniform3fv(set("span"), scene.span);
    gl.uniform3fv(set("eye"), eye);
    gl.uniform1f(set("size"), 0.9 * scene.cell * canvas.height / tangent);
    gl.uniform1f(set("plain"), show.plain ? 1 : 0);
    gl.uniform1f(set("shaded"), show.points ? 0 : (show.plain ? 1 : 0.35));
    gl.bindVertexArray(meshed);
    // Walls are seen from the side that was seen: from outside one looks into a room.
    gl.enable(gl.CULL_FACE);
    if (show.points) gl.drawArrays(gl.POINTS, 0, scene.count);
    else gl.drawElements(gl.TRIANGLES, 3 * scene.triangles, gl.UNSIGNED_INT, 0);
    if (!show.path || place.ride >= 0) return;
    gl.useProgram(lines);
    gl.uniformMatrix4fv(gl.getUniformLocation(lines, "view"), false, view);
    gl.bindVertexArray(pathed);
    gl.drawArrays(gl.LINES, 0, ends.length / 3);
  };
  let asked = false;
  const again = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; render(); });
  };

  // --- hands: drag turns, right button or shift moves, wheel or two fingers zoom ---
  const fingers = new Map();
  const slider = box.querySelector("input");
  const leave = () => { if (place.ride >= 0) { place.ride = -1; slider.value = -1; } };
  const move = (dx, dy) => {
    const at = axes(), share = place.distance / canvas.clientHeight;
    place.around = add(add(place.around, at.right, -dx * share), at.up, dy * share);
  };
  const zoom = (factor) => {
    const most = 8 * scene.extent, least = 0.01 * scene.extent;
    place.distance = Math.min(most, Math.max(least, place.distance * factor));
  };
  canvas.addEventListener("contextmenu", (e) => e.preventDefault());
  canvas.addEventListener("pointerdown", (e) => {
    canvas.setPointerCapture(e.pointerId);
    fingers.set(e.pointerId, [e.clientX, e.clientY]);
    leave();
  });
  for (const name of ["pointerup", "pointercancel"])
    canvas.addEventListener(name, (e) => fingers.delete(e.pointerId));
  canvas.addEventListener("pointermove", (e) => {
    const before = fingers.get(e.pointerId);
    if (!before) return;
    const dx = e.clientX - before[0], dy = e.clientY - before[1];
    const gap = () => {
      const [a, b] = [...fingers.values()];
      return Math.hypot(a[0] - b[0], a[1] - b[1]);
    };
    const was = fingers.size === 2 ? gap() : 0;
    fingers.set(e.pointerId, [e.clientX, e.clientY]);
    if (fingers.size === 2) {
      zoom(was / Math.max(1, gap()));
      move(dx / 2, dy / 2);
    } else if (e.shiftKey || e.buttons === 2) {
      move(dx, dy);
    } else {
      place.yaw += 0.006 * dx;
      place.pitch = Math.min(1.57, Math.max(-1.57, place.pitch + 0.006 * dy));
    }
    again();
  });
  canvas.addEventListener("wheel", (e) => {
    e.preventDefault();
    leave();
    zoom(Math.exp(0.0012 * e.deltaY));
    again();
  }, { passive: false });
  slider.max = poses.length - 1;
  slider.addEventListener("input", () => { place.ride = Number(slider.value); again(); });
  const press = {
    reset: () => { place = start(); slider.value = -1; },
    above: () => { leave(); place.pitch = 1.57; place.yaw = 0; },
    points: () => { show.points = !show.points; },
    plain: () => { show.plain = !show.plain; },
    path: () => { show.path = !show.path; },
  };
  for (const button of box.querySelectorAll("button"))
    button.addEventListener("click", () => { press[button.name](); again(); });
  new ResizeObserver(again).observe(canvas);
  again();
})();
