// world_vr.html: the world's splats by the PlayCanvas engine (global `pc`), to look at in a browser or with a headset.
//
// Two frames: the engine's (x right, y up, z back), which cameras live in, and the photo's (x right, y down, z forward),
// which the splats and the photo live in, under one entity turned half round x. Metres; the photo was taken at 0, 0, 0.
"use strict";

const WALL_M = 0.3; // of the soft wall: so far inside the cube's faces steps become shorter
const WALK_M_S = 1.2;
const SNAP_TURN_DEG = 30;
const RADIANS = Math.PI / 180;

/** A step that gets shorter within WALL_M of a face of the cube [-half, half] and none beyond it; one axis, metres. */
function easedStep(at, step, half) {
  const free = half - Math.sign(step) * at;
  return step * Math.min(1, Math.max(0, free / Math.min(WALL_M, half)));
}

/** Moves `position` by `move` (both pc.Vec3) within the cube: steps ease at its faces and end at them. */
function walk(position, move, half) {
  for (const axis of ["x", "y", "z"]) {
    const next = position[axis] + easedStep(position[axis], move[axis], half);
    position[axis] = Math.min(half, Math.max(-half, next));
  }
}

function say(message) {
  const box = document.getElementById("message");
  box.textContent = message;
  box.hidden = !message;
}

async function unpacked(id) {
  const answer = await fetch(`data:;base64,${document.getElementById(id).textContent.trim()}`);
  return answer;
}

function missing() {
  if (!document.createElement("canvas").getContext("webgl2")) {
    return "This browser has no WebGL2, which the world is drawn with. Another browser, or its graphics switched on, shows it.";
  }
  if (typeof DecompressionStream === "undefined") {
    return "This browser is too old to unpack the world. One of 2023 or later shows it.";
  }
  return "";
}

/** The engine, which the page holds compressed: runs it as a script of the page. */
async function loadEngine() {
  const packed = await unpacked("engine");
  const script = document.createElement("script");
  script.textContent = await new Response(packed.body.pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(script);
}

class World {
  constructor(facts, canvas) {
    this.facts = facts;
    this.half = facts.cube_side_m / 2;
    this.keys = new Set();
    this.pointers = new Map();
    this.speed = new pc.Vec3();
    this.yaw = this.pitch = 0;
    this.app = new pc.Application(canvas, {
      graphicsDeviceOptions: { antialias: false, alpha: false, xrCompatible: true, powerPreference: "high-performance" },
    });
    this.app.setCanvasFillMode(pc.FILLMODE_FILL_WINDOW);
    this.app.setCanvasResolution(pc.RESOLUTION_AUTO);
    this.app.graphicsDevice.maxPixelRatio = Math.min(devicePixelRatio, 2);
    addEventListener("resize", () => this.app.resizeCanvas());
    const gsplat = this.app.scene.gsplat;
    gsplat.minPixelSize = 0; // or fine splats go missing
    gsplat.minContribution = 0;
    gsplat.radialSorting = true; // turning the head changes no order, and both eyes share one
    gsplat.antiAlias = facts.antialiased;
    this.rig = new pc.Entity("rig");
    this.camera = new pc.Entity("camera");
    this.camera.addComponent("camera", { clearColor: new pc.Color(0, 0, 0), nearClip: 0.05, farClip: 2000 });
    this.rig.addChild(this.camera);
    this.app.root.addChild(this.rig);
    this.photoFrame = new pc.Entity("photo's frame");
    this.photoFrame.setEulerAngles(180, 0, 0);
    this.app.root.addChild(this.photoFrame);
  }

  async load() {
    const content = await (await unpacked("splats")).arrayBuffer();
    const asset = new pc.Asset("world.sog", "gsplat", { url: "world.sog", filename: "world.sog", contents: content });
    const loaded = new Promise((resolve, reject) => {
      asset.on("load", resolve);
      asset.on("error", (error) => reject(new Error(error)));
    });
    this.app.assets.add(asset);
    this.app.assets.load(asset);
    await loaded;
    this.splats = new pc.Entity("splats");
    this.splats.addComponent("gsplat", { asset, unified: true });
    this.photoFrame.addChild(this.splats);
    this.picture = await photoInItsFrustum(this.app, this.facts);
    this.photoFrame.addChild(this.picture);
  }

  /** Runs until the page is left; resolves when the first whole picture is drawn. */
  start() {
    const ready = new Promise((resolve) => {
      this.app.systems.gsplat.on("frame:ready", (camera, layer, sorted, loading) => {
        if (sorted && loading === 0) this.app.once("frameend", resolve);
      });
    });
    this.app.on("update", (seconds) => this.update(Math.min(seconds, 0.1)));
    this.listen();
    this.home();
    this.app.start();
    return ready;
  }

  /** To where the photo was taken, looking its way. */
  home() {
    this.yaw = this.pitch = 0;
    this.speed.set(0, 0, 0);
    this.rig.setPosition(0, 0, 0);
    this.rig.setEulerAngles(0, 0, 0);
    if (!this.app.xr.active) {
      this.camera.setPosition(0, 0, 0);
      return;
    }
    const ahead = this.camera.forward;
    this.rig.setEulerAngles(0, Math.atan2(ahead.x, -ahead.z) / RADIANS, 0);
    this.shift(this.camera.getPosition().clone().mulScalar(-1));
  }

  shift(by) {
    this.rig.setPosition(this.rig.getPosition().clone().add(by));
  }

  update(seconds) {
    if (this.app.xr.active) this.updateHeadset(seconds);
    else this.updateScreen(seconds);
    if (this.picture.enabled) this.drawFrustum();
  }

  updateScreen(seconds) {
    const held = (...codes) => codes.some((code) => this.keys.has(code)) ? 1 : 0;
    const wanted = new pc.Vec3(
      held("KeyD", "ArrowRight") - held("KeyA", "ArrowLeft"),
      held("KeyE") - held("KeyQ"),
      held("KeyS", "ArrowDown") - held("KeyW", "ArrowUp"),
    ).mulScalar(WALK_M_S);
    this.speed.lerp(this.speed, wanted, 1 - Math.exp(-8 * seconds));
    this.step(this.speed.clone().mulScalar(seconds));
    this.camera.setEulerAngles(this.pitch, this.yaw, 0);
    const { width, height } = this.app.graphicsDevice;
    this.camera.camera.fov = verticalFov(this.facts.fov_deg, this.facts.photo_aspect, width / height);
  }

  /** A step in the viewer's own directions (x right, y up, z back), level whatever the pitch. */
  step(move) {
    const turned = new pc.Quat().setFromEulerAngles(0, this.yaw, 0).transformVector(move);
    const position = this.camera.getPosition().clone();
    walk(position, turned, this.half);
    this.camera.setPosition(position);
  }

  updateHeadset(seconds) {
    if (!this.app.xr.views.list.length) return; // nobody knows yet where the head is
    for (const source of this.app.xr.input.inputSources) {
      const axes = source.gamepad?.axes;
      if (!axes) continue;
      const [x, y] = axes.length > 3 ? axes.slice(2) : axes;
      if (source.handedness === "right") this.snapTurn(x);
      else this.stride(x, y, seconds);
    }
    const head = this.camera.getPosition();
    const inside = head.clone();
    walk(inside, pc.Vec3.ZERO, this.half);
    if (!inside.equals(head)) this.shift(inside.sub(head)); // who walks on in the room meets the wall, too
  }

  stride(x, y, seconds) {
    if (Math.hypot(x, y) < 0.15) return;
    const ahead = this.camera.forward;
    const heading = new pc.Quat().setFromEulerAngles(0, Math.atan2(-ahead.x, -ahead.z) / RADIANS, 0);
    const move = heading.transformVector(new pc.Vec3(x, 0, y)).mulScalar(WALK_M_S * seconds);
    const from = this.camera.getPosition().clone();
    const to = from.clone();
    walk(to, move, this.half);
    this.shift(to.sub(from));
  }

  /** By a fixed angle, at once, round the head: what turns smoothly makes people sick. */
  snapTurn(x) {
    if (Math.abs(x) < 0.3) this.turned = false;
    if (Math.abs(x) < 0.6 || this.turned) return;
    this.turned = true;
    const head = this.camera.getPosition().clone();
    this.rig.rotate(0, -Math.sign(x) * SNAP_TURN_DEG, 0);
    this.shift(head.sub(this.camera.getPosition()));
  }

  togglePhoto() {
    this.picture.enabled = !this.picture.enabled;
    document.getElementById("photo").setAttribute("aria-pressed", this.picture.enabled);
  }

  drawFrustum() {
    const corners = frustumCorners(this.facts).map((corner) => new pc.Vec3(corner[0], -corner[1], -corner[2]));
    const white = new pc.Color(1, 1, 1);
    corners.forEach((corner, i) => {
      this.app.drawLine(corner, corners[(i + 1) % 4], white, false);
      this.app.drawLine(pc.Vec3.ZERO, corner, white, false);
    });
  }

  listen() {
    const canvas = this.app.graphicsDevice.canvas;
    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      this.keys.add(event.code);
      if (event.code === "KeyF" && !event.repeat) this.togglePhoto();
      if (event.code === "KeyR") this.home();
    });
    addEventListener("keyup", (event) => this.keys.delete(event.code));
    addEventListener("blur", () => this.keys.clear());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.step(new pc.Vec3(0, 0, Math.sign(event.deltaY) * 0.08));
    }, { passive: false });
    document.getElementById("photo").addEventListener("click", () => this.togglePhoto());
    document.getElementById("home").addEventListener("click", () => this.home());
    this.listenToHeadset();
  }

  /** One pointer turns the view as if the picture were held; two walk: apart is ahead, sideways is sideways. */
  drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
    if (this.pointers.size === 1) {
      const perPixel = this.camera.camera.fov / innerHeight;
      this.yaw += dx * perPixel;
      this.pitch = Math.max(-89, Math.min(89, this.pitch + dy * perPixel));
    } else {
      const other = [...this.pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
      const apart = (pointer) => Math.hypot(pointer.clientX - other.clientX, pointer.clientY - other.clientY);
      const ahead = apart(event) - apart(before);
      this.step(new pc.Vec3(-dx / 2, dy / 2, -ahead).mulScalar(2 / innerHeight));
    }
    this.pointers.set(event.pointerId, event);
  }

  listenToHeadset() {
    const xr = this.app.xr;
    const button = document.getElementById("vr");
    const offer = () => { button.hidden = !xr.isAvailable(pc.XRTYPE_VR); };
    xr.on(`available:${pc.XRTYPE_VR}`, offer);
    offer();
    button.addEventListener("click", () => (xr.active ? xr.end() : this.enterHeadset(pc.XRSPACE_LOCALFLOOR)));
    xr.on("start", () => {
      this.home();
      this.rig.setEulerAngles(0, 0, 0);
      const floor = xr.spaceType === pc.XRSPACE_LOCALFLOOR ? -this.facts.eye_height_m : 0;
      this.rig.setPosition(0, floor, 0);
      button.textContent = "Leave VR";
    });
    xr.on("end", () => {
      button.textContent = "Enter VR";
      this.home();
    });
    xr.input.on("select", () => this.togglePhoto());
    xr.input.on("squeeze", () => this.home());
  }

  /** On the floor that the headset knows, or else with the eyes where the photo was taken. */
  enterHeadset(space) {
    this.app.xr.start(this.camera.camera, pc.XRTYPE_VR, space, { callback: (error) => {
      if (error && space === pc.XRSPACE_LOCALFLOOR) this.enterHeadset(pc.XRSPACE_LOCAL);
      else if (error) say(`The headset cannot be entered: ${error.message}`);
    } });
  }
}

/** Vertical field of view, degrees, at which a window of that aspect shows the whole photo, 40 to 100. */
function verticalFov(fovDeg, photoAspect, aspect) {
  const across = Math.tan(fovDeg * RADIANS / 2);
  const half = Math.max(across / photoAspect, across / aspect);
  return Math.min(100, Math.max(40, 2 * Math.atan(half) / RADIANS));
}

/** The photo's corners in its own frame, where its picture hangs: on the cube's front face, clockwise from top left. */
function frustumCorners(facts) {
  const z = facts.cube_side_m / 2;
  const x = z * Math.tan(facts.fov_deg * RADIANS / 2);
  const y = x / facts.photo_aspect;
  return [[-x, -y, z], [x, -y, z], [x, y, z], [-x, y, z]];
}

/** The photo as a picture that from where it was taken covers what it shows; hidden at first. */
async function photoInItsFrustum(app, facts) {
  const mesh = new pc.Mesh(app.graphicsDevice);
  mesh.setPositions(frustumCorners(facts).flat());
  mesh.setUvs(0, [0, 0, 1, 0, 1, 1, 0, 1]);
  mesh.setIndices([0, 1, 2, 0, 2, 3]);
  mesh.update(pc.PRIMITIVE_TRIANGLES);
  const image = document.getElementById("photo-picture");
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const edges = { addressU: pc.ADDRESS_CLAMP_TO_EDGE, addressV: pc.ADDRESS_CLAMP_TO_EDGE };
  const texture = new pc.Texture(app.graphicsDevice, { width, height, format: pc.PIXELFORMAT_SRGBA8, ...edges });
  texture.setSource(image);
  const material = new pc.StandardMaterial();
  material.useLighting = material.useFog = material.useTonemap = false;
  material.emissive = pc.Color.WHITE;
  material.emissiveMap = texture;
  material.cull = pc.CULLFACE_NONE;
  material.depthTest = material.depthWrite = false;
  material.blendType = pc.BLEND_NORMAL; // or it is drawn ahead of the splats, which would cover it
  material.update();
  const instance = new pc.MeshInstance(mesh, material);
  instance.cull = false;
  const entity = new pc.Entity("photo");
  entity.addComponent("render", { layers: [pc.LAYERID_UI], castShadows: false });
  entity.render.meshInstances = [instance];
  entity.enabled = false;
  return entity;
}

async function main() {
  const reason = missing();
  if (reason) {
    say(reason);
    document.documentElement.dataset.state = "failed";
    return;
  }
  try {
    await loadEngine();
    const facts = JSON.parse(document.getElementById("facts").textContent);
    const world = new World(facts, document.getElementById("canvas"));
    window.world = world; // for a browser's console
    await world.load();
    await world.start();
    say("");
    document.documentElement.dataset.state = "shown";
    document.documentElement.dataset.seconds = (performance.now() / 1000).toFixed(2);
  } catch (error) {
    say(`The world cannot be shown: ${error.message}`);
    document.documentElement.dataset.state = "failed";
    throw error;
  }
}

main();
