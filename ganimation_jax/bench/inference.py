"""Latency and throughput of edits."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from ganimation_jax.bench import timing, workload
from ganimation_jax.bench.workload import Sizes


def run(
    sizes: Sizes, batches: Sequence[int], repeats: int, peaks: Mapping[str, float]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure edits on one device, with inputs and outputs on it.

    Yields:
      The table's name and a row. Times wait for each batch (latency); ``images_per_s`` does not
      wait between batches (throughput).
    """
    model = workload.build(sizes).model
    nets = jax.device_put(workload.initial_state(sizes).nets)
    nets = {name: nets[name] for name in model.edits_with}
    edit = jax.jit(model.edit)
    for batch in batches:
        # The first of n_critic batches, with one of them.
        data = workload.random_batch(sizes._replace(batch=batch, n_critic=1))
        image = jax.device_put(data["image"][0].astype("float32") / 127.5 - 1)
        want, have = jax.device_put((data["want"][0], data["have"][0]))

        def once(image: Any = image, want: Any = want, have: Any = have) -> Any:
            return edit(nets, image, want, have)

        latency = timing.measure({"edit": once}, repeats)["edit"]
        stream = timing.measure({"edit": once}, repeats, timing.STEADY)["edit"]
        flops = workload.count_flops(model.edit, nets, image, want, have) / stream.median
        yield (
            "inference",
            {"batch": batch, "image_size": sizes.image_size, "dtype": sizes.dtype}
            | latency.row()
            | {
                "images_per_s": batch / stream.median,
                "gflop_per_image": flops * stream.median / batch / 1e9,
                "share_of_peak": flops / peaks[sizes.dtype],
            },
        )
