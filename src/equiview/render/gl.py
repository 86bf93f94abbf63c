"""The OpenGL renderer (extra `gl`): the same views as the ray caster, from the graphics card or Mesa's software one.

OpenGL decides which triangle is seen at each pixel centre and the colour; 3D points are computed in float64 from the
ray and the triangle's plane, exactly as in `embree.py`. What may differ: pixels whose centre lies on an edge (their
triangle), and colours by the mipmap filter. The material rules are those of the ray caster.
"""

from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from ..errors import EquiviewError
from ..geometry import pixel_centers, rays_through
from ..types import Camera, View
from .mesh import Mesh
from .scene import Scene, scene_of
from .shading import RenderConfig, background

_DEFAULT = RenderConfig()

_VERTEX = """
#version 330
uniform mat4 clip_from_object;
in vec3 in_point; in vec3 in_normal; in vec3 in_flat; in vec2 in_uv; in vec4 in_color; in int in_triangle;
out vec3 point; out vec3 normal; out vec2 uv; out vec4 vertex_color;
flat out vec3 flat_normal; flat out int triangle;
void main() {
    gl_Position = clip_from_object * vec4(in_point, 1.0);
    point = in_point; normal = in_normal; uv = in_uv; vertex_color = in_color;
    flat_normal = in_flat; triangle = in_triangle;
}
"""
_VISIBLE = """
#version 330
uniform vec3 eye; uniform vec4 base_color; uniform float cutoff; uniform bool single_sided; uniform bool has_texture;
uniform ivec2 mirror; uniform sampler2D picture;
uniform bool camera_light; uniform vec3 world_light; uniform float ambient;
in vec3 point; in vec3 normal; in vec2 uv; in vec4 vertex_color;
flat in vec3 flat_normal; flat in int triangle;
vec2 wrapped() {
    vec2 folded = mod(uv, 2.0);
    return mix(uv, mix(folded, 2.0 - folded, step(1.0, folded)), vec2(mirror));
}
bool from_behind() { return dot(flat_normal, point - eye) > 0.0; }
void drop_what_is_not_there() {
    if (single_sided && from_behind()) discard;
    if (cutoff < 0.0) return;
    float alpha = base_color.a * vertex_color.a;
    if (has_texture) alpha *= textureLod(picture, wrapped(), 0.0).a;
    if (alpha < cutoff) discard;
}
"""
_ID = """
out int out_id;
void main() { drop_what_is_not_there(); out_id = triangle + 1; }
"""
_COLOR = """
out vec4 out_color;
void main() {
    // Looked up before any discard: the filter needs the neighbours.
    vec4 color = base_color * vertex_color;
    if (has_texture) {
        vec4 texel = texture(picture, wrapped());
        if (cutoff >= 0.0) texel.rgb /= max(texel.a, 1e-6);
        color *= texel;
    }
    drop_what_is_not_there();
    vec3 shading = length(normal) > 0.1 && dot(normal, flat_normal) > 0.0 ? normalize(normal) : flat_normal;
    if (from_behind()) shading = -shading;
    float diffuse = camera_light ? clamp(dot(shading, normalize(eye - point)), 0.0, 1.0)
                                 : 0.5 * (1.0 + dot(shading, world_light));
    out_color = vec4(color.rgb * (ambient + (1.0 - ambient) * diffuse), 1.0);
}
"""


def render_view(mesh: Mesh, camera: Camera, config: RenderConfig = _DEFAULT, *, index: int = 0) -> View:
    """Draw a mesh with OpenGL; arguments and result as `embree.render_view`.

    Raises:
        EquiviewError: moderngl is not installed, or there is no OpenGL 3.3 here.
    """
    canvas = _canvas_of(mesh)
    h, w = camera.hw
    triangle_id = canvas.triangles(camera)
    mask = triangle_id >= 0
    eye = camera.center_in_world
    directions = rays_through(camera, pixel_centers(camera.hw)[mask]) @ camera.cam_from_world[:3, :3]
    points, normals = np.full((h, w, 3), np.nan), np.full((h, w, 3), np.nan, np.float32)
    points[mask] = eye + directions * scene_of(mesh).depth(eye, directions, triangle_id[mask])[:, None]
    flat = mesh.face_normals[triangle_id[mask]]
    normals[mask] = np.where(np.einsum("nk,nk->n", flat, directions)[:, None] > 0, -flat, flat)
    return View(
        rgb=canvas.picture(camera, config, index),
        mask=mask,
        points_in_world=points,
        normals_in_world=normals,
        triangle_id=triangle_id,
        camera=camera,
        name=f"{mesh.name}/{index:03d}",
    )


def device_name() -> str:
    """Return what draws, for reports.

    Raises:
        EquiviewError: As `render_view`.
    """
    return str(_context().info["GL_RENDERER"])


class _Canvas:
    """One mesh on the graphics card, in the frame where it is a unit ball at the origin (float32 is exact there)."""

    def __init__(self, mesh: Mesh) -> None:
        self._gl = _module()
        self._context = _context()
        self._mesh = mesh
        self._scene = scene_of(mesh)
        self._programs = {
            kind: self._context.program(vertex_shader=_VERTEX, fragment_shader=_VISIBLE + source)
            for kind, source in (("id", _ID), ("color", _COLOR))
        }
        self._textures = [self._texture(number) for number in range(len(mesh.materials))]
        self._buffers = [self._buffer(number) for number in range(len(mesh.materials))]

    def triangles(self, camera: Camera) -> Int[np.ndarray, "h w"]:
        h, w = camera.hw
        target = self._context.renderbuffer((w, h), 1, dtype="i4")
        data = self._draw("id", camera, _DEFAULT, target, (w, h))
        return np.frombuffer(data, np.int32).reshape(h, w) - 1

    def picture(self, camera: Camera, config: RenderConfig, index: int) -> UInt8[np.ndarray, "h w 3"]:
        h, w = camera.hw
        side = config.supersample
        target = self._context.renderbuffer((w * side, h * side), 4)
        data = self._draw("color", camera, config, target, (w * side, h * side))
        samples = np.frombuffer(data, np.uint8).reshape(h, side, w, side, 4).astype(np.float32).mean((1, 3))
        rgb = samples[..., :3] + (1 - samples[..., 3:] / 255) * background(config, camera.hw, index)
        return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)

    def _draw(self, kind: str, camera: Camera, config: RenderConfig, target: Any, size: tuple[int, int]) -> bytes:
        depth = self._context.depth_renderbuffer(size)
        frame = self._context.framebuffer([target], depth)
        frame.use()
        frame.clear(0.0, 0.0, 0.0, 0.0)
        self._context.enable(self._gl.DEPTH_TEST)
        program = self._programs[kind]
        scene = self._scene
        eye = (camera.center_in_world - scene.center) / scene.radius
        _set(program, "clip_from_object", _clip_from_object(scene, camera).T.astype("f4").tobytes())
        _set(program, "eye", eye.astype("f4").tobytes())
        _set(program, "camera_light", config.light == "camera")
        _set(program, "world_light", config.towards_light.astype("f4").tobytes())
        _set(program, "ambient", config.ambient)
        for number, material in enumerate(self._mesh.materials):
            if self._buffers[number] is None:
                continue
            _set(program, "base_color", np.array(material.color, "f4").tobytes())
            _set(program, "cutoff", -1.0 if material.alpha_cutoff is None else material.alpha_cutoff)
            _set(program, "single_sided", not material.double_sided)
            _set(program, "has_texture", self._textures[number] is not None)
            _set(program, "mirror", np.array([wrap == "mirror" for wrap in material.wrap], "i4").tobytes())
            if self._textures[number] is not None:
                self._textures[number].use(0)
            layout = [(self._buffers[number], "3f 3f 3f 2f 4f 1i", *_ATTRIBUTES)]
            array = self._context.vertex_array(program, layout, skip_errors=True)
            array.render(self._gl.TRIANGLES)
            array.release()
        components, dtype = (1, "i4") if kind == "id" else (4, "f1")
        data = frame.read(components=components, dtype=dtype)
        for resource in (frame, target, depth):
            resource.release()
        return data

    def _texture(self, number: int) -> Any:
        material, pyramid = self._mesh.materials[number], self._scene.pyramids[number]
        if pyramid is None or material.texture is None:
            return None
        h, w = material.texture.shape[:2]
        texture = self._context.texture((w, h), 4, pyramid[0].tobytes())  # premultiplied where there is a cut-out
        texture.build_mipmaps()
        texture.filter = (self._gl.LINEAR_MIPMAP_LINEAR, self._gl.LINEAR)
        texture.repeat_x, texture.repeat_y = (wrap == "repeat" for wrap in material.wrap)
        return texture

    def _buffer(self, number: int) -> Any:
        mesh, scene = self._mesh, self._scene
        triangle = np.flatnonzero(mesh.face_material == number)
        if not len(triangle):
            return None
        corners = mesh.faces[triangle].ravel()
        rows = np.empty(len(corners), [(name, kind, shape) for name, kind, shape in _ROW])
        rows["in_point"] = (mesh.vertices[corners] - scene.center) / scene.radius
        rows["in_normal"] = mesh.normals[corners]
        rows["in_flat"] = mesh.face_normals[triangle].repeat(3, axis=0)
        rows["in_uv"] = mesh.uv[corners]
        rows["in_color"] = 1.0 if mesh.vertex_colors is None else mesh.vertex_colors[corners]
        rows["in_triangle"] = triangle.repeat(3)
        return self._context.buffer(rows.tobytes())


_ROW = (
    ("in_point", "f4", 3), ("in_normal", "f4", 3), ("in_flat", "f4", 3),
    ("in_uv", "f4", 2), ("in_color", "f4", 4), ("in_triangle", "i4", ()),
)  # fmt: skip
_ATTRIBUTES = tuple(name for name, _, _ in _ROW)


def _set(program: Any, name: str, value: Any) -> None:
    """Set a uniform; the compiler removes those that a program does not use."""
    if name not in program:
        return
    if isinstance(value, bytes):
        program[name].write(value)
    else:
        program[name].value = value


def _clip_from_object(scene: Scene, camera: Camera) -> Float[np.ndarray, "4 4"]:
    """Clip space from the unit-ball frame. The frame buffer's first row is the picture's."""
    h, w = camera.hw
    cam_from_object = camera.cam_from_world.copy()
    cam_from_object[:3, 3] = camera.cam_from_world[:3, :3] @ scene.center + camera.cam_from_world[:3, 3]
    cam_from_object[:3, 3] /= scene.radius
    middle = cam_from_object[2, 3]
    near, far = max(middle - 1.01, 1e-3), max(middle + 1.01, 2e-3)
    clip_from_cam = np.zeros((4, 4))
    clip_from_cam[0, :3] = 2 / w * camera.intrinsics[0] - (0, 0, 1)
    clip_from_cam[1, :3] = 2 / h * camera.intrinsics[1] - (0, 0, 1)
    clip_from_cam[2, 2:] = (far + near) / (far - near), -2 * far * near / (far - near)
    clip_from_cam[3, 2] = 1
    return clip_from_cam @ cam_from_object


def _module() -> ModuleType:
    try:
        import moderngl
    except ImportError as error:
        raise EquiviewError("the gl renderer needs moderngl. Install it with `pip install equiview[gl]`.") from error
    return moderngl


@lru_cache(maxsize=1)
def _context() -> Any:
    """A context without a window."""
    try:
        return _module().create_standalone_context(backend="egl", require=330)
    # The context library raises plain Exception for every reason.
    except Exception as error:
        raise EquiviewError(
            f"the gl renderer found no OpenGL 3.3 through EGL ({error}). Install libegl1 and libgl1-mesa-dri, or use "
            "the default renderer."
        ) from error


@lru_cache(maxsize=2)
def _canvas_of(mesh: Mesh) -> _Canvas:
    return _Canvas(mesh)
