"""Compiled programs, read: what accelerators would run, without one."""

import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import ROOT

from configs import emotionet
from ganimation_jax import backend
from ganimation_jax.bench import hlo, kernels, method_step, program, targets, workload
from ganimation_jax.bench.kernels import Kernel
from ganimation_jax.bench.workload import Sizes
from ganimation_jax.models import cpu_convolutions, layers
from ganimation_jax.parallel import sharding

PUBLISHED = Sizes(32, 4, 8, 2, "bfloat16", 1)

TEXT = """\
HloModule jit_step, is_scheduled=true, input_output_alias={ {0}: (0, {}, may-alias) }

%sliced (p.0: f32[5,64], p.1: s32[]) -> f32[64] {
  %p.0 = f32[5,64]{1,0} parameter(0)
  %p.1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  %part = f32[1,64]{1,0} dynamic-slice(%p.0, %p.1, %zero), dynamic_slice_sizes={1,64}
  ROOT %flat = f32[64]{0} bitcast(%part)
}

%product (p.2: bf16[8,16], p.3: bf16[16,4]) -> bf16[8,4] {
  %p.2 = bf16[8,16]{1,0} parameter(0)
  %p.3 = bf16[16,4]{1,0} parameter(1)
  ROOT %dot.1 = bf16[8,4]{1,0} dot(%p.2, %p.3), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%body (arg: (s32[], f32[5,64])) -> (s32[], f32[5,64]) {
  %arg = (s32[], f32[5,64]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%arg), index=0
  %all = f32[5,64]{1,0} get-tuple-element(%arg), index=1
  %one = f32[64]{0} fusion(%all, %i), kind=kLoop, calls=%sliced
  ROOT %t = (s32[], f32[5,64]{1,0}) tuple(%i, %all)
}

%few (arg.1: (s32[], f32[5,64])) -> pred[] {
  %arg.1 = (s32[], f32[5,64]{1,0}) parameter(0)
  ROOT %less = pred[] constant(true)
}

ENTRY %main (x: bf16[2,8,8,3], k: bf16[16,4,4,3], g: bf16[2,4,4,16], a: bf16[8,16]) -> bf16[8,4] {
  %x = bf16[2,8,8,3]{3,2,1,0} parameter(0)
  %k = bf16[16,4,4,3]{3,2,1,0} parameter(1)
  %g = bf16[2,4,4,16]{3,2,1,0} parameter(2)
  %a = bf16[8,16]{1,0} parameter(3)
  %s = (s32[], f32[5,64]{1,0}) tuple(%x, %k)
  %loop = (s32[], f32[5,64]{1,0}) while(%s), condition=%few, body=%body, \
backend_config={"known_trip_count":{"n":"5"}}
  %f = (bf16[2,4,4,16]{3,2,1,0}, u8[0]{0}) custom-call(%x, %k), window={size=4x4 stride=2x2}, \
custom_call_target="__cudnn$convForward", metadata={op_name="jit(step)/Critic/down0/conv"}
  %i = (bf16[2,8,8,3]{3,2,1,0}, u8[0]{0}) custom-call(%g, %k), window={size=4x4 stride=2x2}, \
custom_call_target="__cudnn$convBackwardInput"
  %w = (f32[16,4,4,3]{3,2,1,0}, u8[0]{0}) custom-call(%x, %g), window={size=4x4 rhs_dilate=2x2}, \
custom_call_target="__cudnn$convBackwardFilter"
  %wrapped_transpose = bf16[16,8]{1,0} transpose(%a), dimensions={1,0}
  %b = bf16[16,4]{1,0} bitcast(%k)
  ROOT %gemm = bf16[8,4]{1,0} fusion(%a, %b), kind=kCustom, calls=%product
}
"""


def test_kernels_of_a_program_written_by_hand():
    found = {one.name: one for one in kernels.read(TEXT)}
    assert set(found) == {"one", "f", "i", "w", "wrapped_transpose", "gemm"}
    # A convolution has as many products in each of its three passes.
    flops = 2 * (2 * 4 * 4) * (4 * 4) * 3 * 16
    image, kernel, output = 2 * 2 * 8 * 8 * 3, 2 * 16 * 4 * 4 * 3, 2 * 2 * 4 * 4 * 16
    for name, size, dtype in (
        ("f", image + kernel + output, "bf16"),
        ("i", image + kernel + output, "bf16"),
        ("w", image + output + 2 * kernel, "f32"),  # the gradient is in float32
    ):
        one = found[name]
        assert (one.kind, one.times, one.flops, one.bytes) == ("convolution", 1, flops, size)
        assert one.dtype == dtype
        assert one.wasted == flops * 5 / 3  # eight channels for three
    assert found["f"].where == "jit(step)/Critic/down0/conv"
    gemm = found["gemm"]
    assert (gemm.kind, gemm.dtype, gemm.flops) == ("product", "bf16", 2 * 8 * 16 * 4)
    assert gemm.bytes == 2 * (8 * 16 + 16 * 4 + 8 * 4)
    assert (found["wrapped_transpose"].kind, found["wrapped_transpose"].bytes) == ("transpose", 512)
    # In the loop, of the five rows one is read each time, and the counter.
    assert (found["one"].times, found["one"].bytes) == (5, 4 * 64 + 4 + 4 * 64)
    reasons = {row["what"].split()[0]: row["why"] for row in program.stands_out(found.values())}
    assert reasons == {
        "convForward": "narrow channels",
        "convBackwardInput": "narrow channels",
        "convBackwardFilter": "float32",
    }


def test_the_roofline_by_its_formula():
    device = targets.Accelerator("gpu", "", bfloat16=100.0, float32=50.0, memory=10.0)
    by_products = Kernel("a", "convolution", "", 3, 400.0, 100.0, 20.0, "bf16", "")
    by_memory = by_products._replace(bytes=200.0)
    assert by_products.seconds(device) == 3 * 5
    assert by_products._replace(dtype="f32").seconds(device) == 3 * 10
    assert by_products.seconds(device, products=0.5) == 3 * 10
    assert by_memory.seconds(device) == 3 * 20
    assert by_memory.seconds(device, memory=0.5) == 3 * 40
    h100 = targets.ACCELERATORS["h100"]
    one = Kernel("a", "convolution", "", 2, 989e12, 0.0, 0.0, "bf16", "")
    row = program.prediction([one], PUBLISHED, "h100")
    assert row["bound_ms"] == pytest.approx(2000 + 2 * 2e-3)
    assert row["bound_images_per_s"] == pytest.approx(PUBLISHED.images / 2, rel=1e-5)
    assert h100.memory < targets.ACCELERATORS["h200"].memory


def people():
    cfg = emotionet.get_config("people")
    cfg.update(image_size=32, dtype="bfloat16")
    cfg.batch_size = 8
    cfg.generator.update(width=8, residual_blocks=1)
    cfg.critic.width = 4
    return cfg


def lower(what, mesh):
    with backend.traced_for("gpu"):
        if isinstance(what, Sizes):
            return workload.lower_step(what, mesh)
        return method_step.lower(what, mesh)


@pytest.fixture(scope="module", params=["published", "people"])
def lowered(request):
    """The step for GPUs, and its number of updates, on eight devices."""
    what, updates = {"published": (PUBLISHED, [2, 1]), "people": (people(), [1, 1])}[request.param]
    return lower(what, sharding.make_mesh()), updates


def test_no_convolution_is_float32(lowered):
    text = lowered[0].as_text()
    found = re.findall(r"stablehlo\.convolution.* : \((.*?)\) ->", text)
    assert len(found) > 20
    assert not [types for types in found if "f32" in types]


def test_the_state_is_donated(lowered):
    text = lowered[0].as_text()
    state = lowered[0].in_avals[0][0]
    head = text[text.index("@main") : text.index(") -> (")]
    donated = len(re.findall(r"jax\.buffer_donor = true|tf\.aliasing_output", head))
    assert donated == len(jax.tree.leaves(state))


@pytest.mark.slow
def test_each_update_is_exchanged_once_and_the_state_is_updated_in_place(lowered):
    program, updates = lowered
    text = program.compile().as_text()
    exchanges = hlo.collectives(text, 8)
    assert {one.kind for one in exchanges} == {"all-reduce"}
    # One exchange in each critic update of the loop, and one in the generator's; where XLA does
    # not loop, one for each.
    assert sum(exchanges.values()) == sum(updates)
    state = jax.tree.leaves(program.in_avals[0][0])
    alias = re.search(r"input_output_alias=\{(.*?)\}, entry", text)[1]
    aliased = {int(out): int(given) for out, given in re.findall(r"\{(\d+)\}: \((\d+)", alias)}
    assert aliased == {i: i for i in range(len(state))}


def test_a_gpu_has_its_own_statements():
    with backend.traced_for("gpu"):
        assert layers.statement_of(4, 4, 2, 1024, 2048) is cpu_convolutions.patches
        assert layers.statement_of(8, 4, 2, 512, 1024) is cpu_convolutions.patches
        assert layers.statement_of(16, 4, 2, 256, 512) is cpu_convolutions.direct
        assert layers.statement_of(32, 3, 1, 256, 256) is cpu_convolutions.direct
        assert layers.transposed_statement_of(256, 128) is cpu_convolutions.transposed_subpixel
        assert not layers.on_cpu()
    with backend.traced_for("tpu"):
        assert layers.statement_of(4, 4, 2, 1024, 2048) is cpu_convolutions.direct
        assert layers.transposed_statement_of(256, 128) is cpu_convolutions.transposed
    assert layers.on_cpu()


def test_programs_for_absent_devices_are_not_cached(tmp_path):
    # JAX could not read them again. Other programs are cached as before.
    command = """
import os, sys, jax
from ganimation_jax.bench import targets
lowered = [jax.jit(lambda x, i=i: x * i + 1).lower(1.0) for i in range(3)]
for compile in (jax.stages.Lowered.compile, targets.compiled, jax.stages.Lowered.compile):
    compile(lowered.pop())
    print(sum(name.endswith("-cache") for name in os.listdir(sys.argv[1])))
"""
    env = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    words = [sys.executable, "-c", command, str(tmp_path)]
    child = subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert child.stdout.split() == ["1", "1", "2"]


def gpu():
    try:
        return targets.devices("gpu", 1)[0]
    except ModuleNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("layer", "image", "kernel"),
    [
        (layers.conv_transpose, (4, 32, 32, 64), (4, 4, 64, 32)),
        (lambda x, k: layers.conv(x, k, 2), (8, 8, 8, 64), (4, 4, 64, 128)),
        (lambda x, k: layers.conv(x, k, 2), (8, 4, 4, 64), (4, 4, 64, 128)),
        (layers.conv, (4, 32, 32, 64), (3, 3, 64, 64)),
    ],
    ids=["up", "down4", "down5", "residual"],
)
def test_xla_knows_all_three_passes_for_an_h100(layer, image, kernel):
    place = jax.sharding.SingleDeviceSharding(gpu())

    def passes(x, k, change):
        y, pull = jax.vjp(layer, x, k)
        return y, *pull(change)

    x, k = (jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in (image, kernel))
    with backend.traced_for("gpu"):
        y = jax.eval_shape(layer, x, k)
        jitted = jax.jit(passes, in_shardings=place, out_shardings=place)
        found = kernels.read(targets.compiled(jitted.lower(x, k, y)).as_text())
    products = [one for one in found if one.kind in ("convolution", "product")]
    assert {one.dtype for one in products} == {"bf16"}
    assert not [one.detail for one in products if "dilate" in one.detail]
    # As many products as the operation has: none with the zeros of a dilated image.
    positions = np.prod(image[:3]) / (4 if image[1] != y.shape[1] and y.shape[1] < image[1] else 1)
    taps = kernel[0] * kernel[1]
    want = 3 * 2 * positions * taps * kernel[2] * kernel[3]
    assert sum(one.flops for one in products) <= 1.1 * want  # the borders of four phases
    activations = 2 * min(np.prod(image), np.prod(y.shape))
    moved = [one for one in found if one.kind == "transpose" and one.bytes >= 2 * activations]
    assert not [one.name for one in moved if "concatenate" not in one.name]


def test_a_missing_compiler_is_named(capsys, monkeypatch):
    from ganimation_jax.bench.__main__ import main

    def missing(**kwargs):
        raise NotImplementedError("topology not implemented for cuda")

    monkeypatch.setattr(targets.topologies, "get_topology_desc", missing)
    assert main(["program"]) == 2
    assert "pip install --no-deps jax-cuda12-plugin==" in capsys.readouterr().err
