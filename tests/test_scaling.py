"""The prediction of how training scales: what it reads from programs, and its arithmetic."""

import json
import math

import jax
import numpy as np
import pytest

from experiments.scaling import machines, predict, programs
from experiments.scaling.machines import MACHINES, Link, Machine, Step
from experiments.scaling.programs import Program
from ganimation_jax.bench import hlo, workload
from ganimation_jax.bench.hlo import Collective
from ganimation_jax.types import parameter_count

TINY = Program("cpu", 8, 1, 4, 2, n_critic=3, dtype="float32", image_size=16, residual_blocks=1)
EIGHT = tuple(range(8))

TEXT = """\
HloModule jit_train_step, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%inner (p: (s32[], f32[10])) -> (s32[], f32[10]) {
  %p = (s32[], f32[10]{0}) parameter(0)
  %a = f32[10]{0} get-tuple-element(%p), index=1
  %r = f32[10]{0} all-reduce(%a), replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
  ROOT %t = (s32[], f32[10]{0}) tuple(%i, %r)
}

%few (p: (s32[], f32[10])) -> pred[] {
  %limit = s32[]{:T(128)} constant(3)
  %i = s32[] get-tuple-element(%p), index=0
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

%outer (p: (s32[], f32[10])) -> (s32[], f32[10]) {
  %p = (s32[], f32[10]{0}) parameter(0)
  ROOT %w = (s32[], f32[10]{0}) while(%p), condition=%few, body=%inner
}

ENTRY %main (p: f32[10]) -> (f32[4], f32[10]) {
  %s = (f32[2,3]{1,0:T(8,128)}, /*index=1*/bf16[5]) all-reduce-start(%p, %q), replica_groups={}
  %d = (f32[2,3]{1,0:T(8,128)}, /*index=1*/bf16[5]) all-reduce-done(%s)
  %g = ((f32[1], s32[2]), (f32[4], s32[8])) all-gather-start(%x), replica_groups=[2,4]<=[4,2]T(1,0)
  %c = f32[3] reduce-scatter(%g), replica_groups=mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'b'}
  %m = f32[7]{0} all-to-all(%g), replica_groups=mesh['a'=2,'b'=4] {'a'}, dimensions={0}
  %k = u8[6]{0} collective-permute(%g), source_target_pairs={{0,1},{1,2}}
  ROOT %w = (s32[], f32[10]) while(%t), body=%outer, backend_config={"known_trip_count":{"n":"2"}}
}
"""


def test_collectives_of_a_program_written_by_hand():
    assert hlo.collectives(TEXT, 8) == {
        Collective("all-reduce", 4 * 6 + 2 * 5, EIGHT): 1,
        Collective("all-gather", 4 * 4 + 4 * 8, (0, 2, 4, 6)): 1,
        Collective("reduce-scatter", 4 * 4 * 3, (0, 2, 4, 6)): 1,
        Collective("all-to-all", 4 * 7, (0, 4)): 1,
        Collective("collective-permute", 6, (0, 1)): 1,
        Collective("all-reduce", 4 * 10, (0, 1, 2, 3)): 2 * 3,
    }


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("direction=LT", "direction=NE", "loop of unknown length"),
        ("replica_groups={}", "replica_groups=mesh['a'=8] {'a':(1)2}", "a form that is not read"),
        ("source_target_pairs={{0,1},{1,2}}", "", "no source and target"),
        ("while(%p), condition=%few, body=", "conditional(%p), true_computation=", "in a branch"),
        ("ENTRY ", "", "no ENTRY"),
    ],
)
def test_what_cannot_be_counted_is_refused(old, new, why):
    assert old in TEXT
    with pytest.raises(ValueError, match=why):
        hlo.collectives(TEXT.replace(old, new), 8)


@pytest.fixture(scope="module")
def tiny_step():
    return programs.describe(TINY)


@pytest.mark.slow
def test_the_real_step_sums_each_gradient_once_for_each_use(tiny_step):
    # XLA's CPU compiler sums a kernel's gradients of two uses apart; its others join them.
    shapes = workload.state_shapes(TINY.sizes)
    generator, critic = shapes.nets["generator"], shapes.nets["critic"]
    flat = {jax.tree_util.keystr(k): v for k, v in jax.tree_util.tree_leaves_with_path(critic)}
    once = sum(v.size for name, v in flat.items() if "bias" in name or "aus" in name)
    # The penalty is one more use of all but biases and the head that reads action units.
    critic_sums = 2 * parameter_count(critic) - once
    losses = 5  # of the critic: two scores, action units, penalty, gradient norm
    (in_loop,) = [c for c in tiny_step["collectives"] if c["times"] == TINY.n_critic]
    assert in_loop["bytes"] == 4 * (critic_sums + losses)
    # The generator edits there and back: two uses of everything.
    (after,) = [c for c in tiny_step["collectives"] if c["times"] == 1]
    scalars = after["bytes"] / 4 - 2 * parameter_count(generator)
    assert 0 < scalars <= 10
    assert {c["kind"] for c in tiny_step["collectives"]} == {"all-reduce"}
    assert all(c["group"] == EIGHT for c in tiny_step["collectives"])


@pytest.mark.slow
@pytest.mark.parametrize("devices", [64, 256])
def test_what_devices_exchange_does_not_grow_with_their_number(tiny_step, devices):
    found = programs.compile_apart(TINY._replace(devices=devices), timeout=300)
    assert [c["group"] for c in found["collectives"]] == [list(range(devices))] * 2
    for key in ("kind", "bytes", "times"):
        assert [c[key] for c in found["collectives"]] == [c[key] for c in tiny_step["collectives"]]


@pytest.mark.slow
def test_a_compiler_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"KeyError: 7"):
        programs.compile_apart(TINY._replace(compiler="tpu", devices=7))


def step(*exchanges, flops=1e12, images=40):
    return Step(flops, 0.0, images, exchanges)


def all_reduce(devices, size=1e9):
    return Collective("all-reduce", size, tuple(range(devices)))


def test_one_device_waits_for_nobody():
    for machine in MACHINES:
        found = machines.predict(machine._replace(devices=1), step((all_reduce(1), 6)), 0.5)
        assert found.no_overlap == found.full_overlap == 1


def test_communication_without_cost_is_not_seen():
    free = Link(math.inf, 0.0)
    for machine in MACHINES:
        found = machines.predict(
            machine._replace(inside=free, between=free), step((all_reduce(machine.devices), 6)), 0.5
        )
        assert found.no_overlap == found.full_overlap == 1


def test_times_against_closed_forms():
    node, cluster, torus = MACHINES
    size = 179e6
    assert [m.devices for m in MACHINES] == [8, 64, 256]
    got = [machines.seconds(m, all_reduce(m.devices, size)) for m in MACHINES]
    in_node = 2 * (7 / 8 * size / 450e9 + 7 * 3.4e-6)
    want = [
        in_node,
        in_node + 2 * (7 / 8 * size / 8 / 50e9 + 7 * 14e-6),
        2 * (255 / 256 * size / 200e9 + 30 * 1e-6),
    ]
    np.testing.assert_allclose(got, want, rtol=1e-12)
    # One GPU of each node: all of it goes over the network.
    across = Collective("all-reduce", size, tuple(range(0, 64, 8)))
    want = 2 * (7 / 8 * size / 50e9 + 7 * 14e-6)
    np.testing.assert_allclose(machines.seconds(cluster, across), want, rtol=1e-12)
    # A line of chips in the torus has one link each way.
    line = Collective("all-gather", size, EIGHT)
    want = 7 / 8 * size / 50e9 + 7 * 1e-6
    np.testing.assert_allclose(machines.seconds(torus, line), want, rtol=1e-12)
    # Who sends an array once sends it over one link.
    permute = Collective("collective-permute", size, (0, 1))
    np.testing.assert_allclose(machines.seconds(node, permute), size / 450e9 + 3.4e-6, rtol=1e-12)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_an_all_reduce_is_a_reduce_scatter_and_an_all_gather(machine):
    group = tuple(range(machine.devices))
    apart = [Collective(kind, 1e8, group) for kind in ("reduce-scatter", "all-gather")]
    got = sum(machines.seconds(machine, exchange) for exchange in apart)
    np.testing.assert_allclose(
        got, machines.seconds(machine, all_reduce(machine.devices, 1e8)), rtol=1e-12
    )


def test_bounds_of_efficiency():
    link = Link(1e9, 0.0)
    machine = Machine("two", 2, 1e12, 1e12, 2, link, link)
    # Half of the peak: 2 s for 1e12 FLOP; 1e9 bytes are sent once over: 1 s.
    found = machines.predict(machine, step((all_reduce(2), 1)), 0.5)
    assert (found.compute, found.communication) == (2, 1)
    assert (found.no_overlap, found.full_overlap) == (2 / 3, 1)
    found = machines.predict(machine, step((all_reduce(2), 4)), 0.5)
    assert (found.no_overlap, found.full_overlap) == (1 / 3, 1 / 2)
    # The optimisers' traffic is computation, by the speed of the memory.
    found = machines.predict(machine, Step(1e12, 3e12, 40, ()), 0.5)
    assert (found.compute, found.communication) == (5, 0)
    assert machines.update_bytes(10, 100, 5, fsdp=2) == (28 * 510 + 8 * 10) / 2


@pytest.mark.slow
def test_tables_from_results(tiny_step, tmp_path, capsys, monkeypatch):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"programs": [tiny_step]}))
    monkeypatch.setattr(predict, "plan", lambda *_: [TINY])  # which is there already
    predict.main([f"--json={path}", "--fractions", "0.5"])
    assert "PREDICTION, not measured" in capsys.readouterr().out
    rows = json.loads(path.read_text())["predictions"]
    assert [row["per_device"] for row in rows] == list(predict.PER_DEVICE)
    for row in rows:
        assert row["machine"] == "8 x H100"
        assert 0 < row["efficiency_no_overlap"] <= row["efficiency_full_overlap"] <= 1
        images = row["devices"] * row["per_device"] * TINY.n_critic
        seconds = (row["compute_ms"] + row["communication_ms"]) / 1e3
        np.testing.assert_allclose(row["images_per_s_no_overlap"], images / seconds, rtol=1e-9)
    one, many = rows
    # Twice the images are twice the passes; the optimisers' work stays.
    passes = predict.step_flops(TINY.sizes._replace(batch=0)) / (0.5 * 989e12)
    np.testing.assert_allclose(
        many["compute_ms"] - one["compute_ms"],
        1e3 * passes * (many["per_device"] - one["per_device"]),
        rtol=1e-9,
    )
