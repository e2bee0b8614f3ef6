"""Pretrained networks against their originals, and distances made of them."""

import itertools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import needs
from PIL import Image

from ganimation_jax.features import face_resnet, lpips, perceptual, vgg16
from ganimation_jax.features.batches import in_batches
from ganimation_jax.features.layers import average_pool, make_layer, max_pool
from ganimation_jax.files import assets, pickles
from ganimation_jax.types import to_float

RNG = np.random.default_rng(0)


def pattern(side, phase=0):
    """A picture that is the same everywhere: the goldens below were made on it."""
    y, x, c = np.ogrid[:side, :side, :3]
    return ((x * x + 3 * y * y * (c + 1) + phase) // 97 % 256).astype(np.uint8)


# --- Pickles, layers, batches


def test_pools_by_loops():
    x = RNG.normal(size=(1, 5, 5, 2)).astype(np.float32)
    highest, mean = np.empty((2, 1, 5, 5, 2))
    for i in range(5):
        for j in range(5):
            window = x[0, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            highest[0, i, j], mean[0, i, j] = window.max((0, 1)), window.mean((0, 1))
    np.testing.assert_allclose(max_pool(x, 3, 1, 1), highest)
    np.testing.assert_allclose(average_pool(x, 3, 1, 1), mean, rtol=1e-5)
    assert max_pool(x, 3, 2).shape == (1, 2, 2, 2)


def test_any_number_of_examples_in_batches_of_one_shape():
    seen = []

    def add(a, b):
        seen.append(a.shape)
        return a + b

    a, b = np.arange(14).reshape(7, 2), np.arange(7)[:, None]
    np.testing.assert_array_equal(in_batches(add, a, b, size=3), a + b)
    assert seen == [(3, 2)] * 3
    with pytest.raises(ValueError, match=r"\[7, 6\]"):
        in_batches(add, a, b[1:])
    with pytest.raises(ValueError, match="0"):
        in_batches(add, a[:0])


def test_weights_cannot_run_code(tmp_path):
    path = tmp_path / "vgg16.ckpt"
    path.write_bytes(pickle.dumps({"VGG16_0": print}))
    with pytest.raises(ValueError, match=r"builtins\.print"):
        vgg16.read(path)
    path.write_bytes(pickle.dumps({"VGG16_0": {"Conv_0": np.eye(2)}}))
    np.testing.assert_array_equal(pickles.read(path)["VGG16_0"]["Conv_0"], np.eye(2))


# --- PyTorch says the same, with random weights


def random_layer(inside, outside, side):
    kernel = RNG.normal(0, (2 / inside) ** 0.5 / side, (side, side, inside, outside))
    return make_layer(kernel.astype(np.float32), RNG.normal(0, 0.1, outside).astype(np.float32))


def torch_conv(layer, x, stride=1, padding=0):
    torch = pytest.importorskip("torch")
    kernel, bias = (torch.tensor(np.asarray(part)) for part in layer)
    return torch.nn.functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, stride, padding)


def torch_images(images):
    return pytest.importorskip("torch").tensor(images).permute(0, 3, 1, 2)


IMAGENET_SHIFT, IMAGENET_SCALE = (0.030, 0.088, 0.188), (0.458, 0.448, 0.450)  # LPIPS, in [-1, 1]


def random_vgg16():
    sizes = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512)
    return tuple(random_layer(i, o, 3) for i, o in itertools.pairwise(sizes))


@pytest.mark.torch
def test_vgg16_against_torch():
    torch = pytest.importorskip("torch")
    layers = random_vgg16()
    images = RNG.uniform(-1, 1, (2, 35, 24, 3)).astype(np.float32)
    x, maps = torch_images((images + IMAGENET_SHIFT) / IMAGENET_SCALE).float(), []
    for index, layer in enumerate(layers):
        if index in (2, 4, 7):
            maps.append(x)
            x = torch.nn.functional.max_pool2d(x, 2)
        x = torch_conv(layer, x, padding=1).relu()
    got = jax.jit(vgg16.features)(layers, images)
    np.testing.assert_allclose(got, x.mean((2, 3)), atol=1e-4 * float(x.mean()))
    assert_same_maps(jax.jit(vgg16.maps)(layers, images), [*maps, x])


def assert_same_maps(got, want):
    """Ours against PyTorch's."""
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(
            ours, theirs.permute(0, 2, 3, 1), atol=1e-4 * float(theirs.abs().mean())
        )


def random_lpips():
    sizes = ((3, 64, 11), (64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3))
    heads = tuple(jnp.asarray(RNG.random(o), jnp.float32) / o for _, o, _ in sizes)
    return lpips.Params(tuple(random_layer(*size) for size in sizes), heads)


@pytest.mark.torch
def test_lpips_against_torch():
    torch = pytest.importorskip("torch")
    params = random_lpips()
    a, b = RNG.uniform(-1, 1, (2, 2, 47, 40, 3)).astype(np.float32)
    pairs, want = [], 0
    for images in (a, b):
        x, maps = torch_images((images + IMAGENET_SHIFT) / IMAGENET_SCALE).float(), []
        for index, layer in enumerate(params.layers):
            if index in (1, 2):
                x = torch.nn.functional.max_pool2d(x, 3, 2)
            x = torch_conv(layer, x, *((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))[index]).relu()
            maps.append(torch.nn.functional.normalize(x, dim=1, eps=1e-10))
        pairs.append(maps)
    for x, y, head in zip(*pairs, params.heads, strict=True):
        want += torch.einsum("bchw,c->bhw", (x - y) ** 2, torch.tensor(np.array(head))).mean((1, 2))
    np.testing.assert_allclose(jax.jit(lpips.distance)(params, a, b), want, rtol=2e-4)


def random_resnet():
    widths = (32,) * 6 + (64,) * 8 + (128,) * 6 + (256,) * 8
    stem = random_layer(3, 32, 7)
    pairs = zip((32, *widths[:-1]), widths, strict=True)
    # Blocks add up: small steps keep the sum from growing.
    blocks = [make_layer(0.3 * layer.kernel, layer.bias) for layer in
              (random_layer(i, o, 3) for i, o in pairs)]  # fmt: skip
    projection = jnp.asarray(RNG.normal(0, 0.1, (256, 128)), jnp.float32)
    return face_resnet.Params((stem, *blocks), projection)


@pytest.mark.torch
def test_face_resnet_against_torch():
    torch = pytest.importorskip("torch")
    pool, pad = torch.nn.functional.avg_pool2d, torch.nn.functional.pad
    params = random_resnet()
    chips = RNG.integers(0, 256, (2, 150, 150, 3)).astype(np.uint8)
    x = torch_images((chips - np.array([122.782, 117.001, 104.298])) / 256).float()
    x = torch.nn.functional.max_pool2d(torch_conv(params.layers[0], x, 2).relu(), 3, 2)
    sizes, maps = [x.shape[-1]], []
    for block in range(14):
        first, second = params.layers[1 + 2 * block : 3 + 2 * block]
        if down := block in (3, 7, 10, 13):
            maps.append(x)
        y = torch_conv(first, x, 2 if down else 1, 0 if down else 1).relu()
        y = torch_conv(second, y, padding=1)
        x = pool(x, 2) if down else x
        more = [max(y.shape[i] - x.shape[i], 0) for i in (3, 2, 1)]
        x = pad(x, (0, more[0], 0, more[1], 0, more[2]))
        less = x.shape[-1] - y.shape[-1]  # one row and column, where the map is odd
        x = (x + pad(y, (0, less, 0, less))).relu()
        sizes.append(x.shape[-1])
    assert sizes == [35] * 4 + [17] * 4 + [8] * 3 + [4] * 3 + [2]
    want = x.mean((2, 3)) @ torch.tensor(np.array(params.projection))
    got, found = jax.jit(lambda *x: (face_resnet.describe(*x), face_resnet.maps(*x)))(
        params, to_float(jnp.asarray(chips))
    )
    np.testing.assert_allclose(got, want, atol=1e-4 * float(want.std()))
    assert_same_maps(found, [*maps, x])


# --- Distances made of them, for losses


def test_content_error_by_numpy():
    a, b = (
        [RNG.normal(size=(2, side, side, side)).astype(np.float32) for side in (5, 3)]
        for _ in range(2)
    )
    got = perceptual.content_error(tuple(a), tuple(b), (1.0, 0.25))
    sizes = 5**3, 3**3
    want = [
        sum(
            weight * np.linalg.norm(x[i] - y[i]) ** 2 / (2 * size)
            for x, y, weight, size in zip(a, b, (1, 0.25), sizes, strict=True)
        )
        for i in range(2)
    ]
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("name", ["lpips", "vgg16", "face_resnet"])
def test_a_distance_is_zero_for_equal_images_and_grows_with_noise(name):
    params = {"lpips": random_lpips, "face_resnet": random_resnet, "vgg16": random_vgg16}[name]()
    between = jax.jit(perceptual.distance(name).between)
    a = RNG.uniform(-1, 1, (1, 36, 36, 3)).astype(np.float32)
    noise = RNG.normal(size=a.shape).astype(np.float32)
    found = [between(params, a, a + share * noise).item() for share in (0, 0.02, 0.1, 0.3)]
    assert found[0] == 0
    assert found == sorted(found)
    np.testing.assert_allclose(between(params, a + noise, a), between(params, a, a + noise))


def test_pick_counts_stages_from_the_image():
    picked = perceptual.pick(lambda params, image: (image + 1, image + params), (2, 0))
    found = picked(5, np.zeros((2, 1, 1, 3)))
    np.testing.assert_array_equal([of_stage[0, 0, 0, 0] for of_stage in found], [5, 0])


def test_unknown_networks_are_refused():
    with pytest.raises(ValueError, match="'vgg19' is not one of lpips, vgg16, face_resnet"):
        perceptual.distance("vgg19")
    with pytest.raises(ValueError, match="'lpips' is not one of vgg16, face_resnet"):
        perceptual.network("lpips")


@needs(vgg16)
@needs(face_resnet)
@needs(lpips)
def test_networks_load_what_their_maps_need():
    image = jax.ShapeDtypeStruct((2, 36, 36, 3), np.float32)
    for name, channels in (
        ("vgg16", [64, 128, 256, 512]),
        ("face_resnet", [32, 64, 128, 256, 256]),
    ):
        network = perceptual.network(name)
        maps = jax.eval_shape(network.maps, network.load(), image)
        assert [found.shape[-1] for found in maps] == channels
        assert len(maps) == network.stages >= max(network.late)
        distance = perceptual.distance(name)
        assert jax.eval_shape(distance.between, distance.load(), image, image).shape == (2,)


# --- The real weights say what the original programs say


@needs(face_resnet)
def test_face_descriptor_is_dlibs():
    # dlib 20.0.1: face_recognition_model_v1(...).compute_face_descriptor(pattern(150))
    want = [-0.06536783, 0.08278872, -0.03276376, -0.04714797, -0.0787377, -0.09263264]
    params = face_resnet.read(assets.locate(face_resnet.ASSET))
    got = face_resnet.describe(params, to_float(jnp.asarray(pattern(150)[None])))[0]
    np.testing.assert_allclose(got[:6], want, atol=1e-6)
    assert np.linalg.norm(got) == pytest.approx(1.34642544, abs=1e-5)


@needs(face_resnet)
def test_face_descriptors_of_dlib_itself():
    dlib = pytest.importorskip("dlib", reason="dlib is not installed: pip install dlib-bin")
    path = assets.locate(face_resnet.ASSET)
    noise = RNG.integers(0, 256, (5, 5, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(noise).resize((150, 150), Image.Resampling.BICUBIC))
    model = dlib.face_recognition_model_v1(str(path))
    got = face_resnet.describe(face_resnet.read(path), to_float(jnp.asarray(smooth[None])))[0]
    np.testing.assert_allclose(got, model.compute_face_descriptor(smooth), atol=1e-6)


@needs(lpips)
def test_lpips_is_the_authors():
    distance = lpips.load()
    a, b = pattern(64)[None], pattern(64, 5000)[None]
    # The authors' package lpips 0.1.4 with these weights, on uint8 / 127.5 - 1.
    np.testing.assert_allclose(distance(a, b), 0.21521038, atol=1e-5)
    np.testing.assert_allclose(distance(b, a), distance(a, b), rtol=1e-5)
    assert distance(a, a) == 0
    a = to_float(jnp.asarray(a))
    noisy = [distance(a, a + s * RNG.normal(size=a.shape)).item() for s in (0.02, 0.1, 0.5)]
    assert noisy == sorted(noisy)
    gradient = jax.grad(lambda x: distance(x, a).sum())(a)  # at its minimum, off square roots of 0
    assert np.isfinite(gradient).all()


@needs(vgg16)
def test_vgg16_is_torchvisions():
    # torchvision 0.28 with these weights, on the picture scaled as its documentation says.
    want = [0.0, 0.29046002, 0.50939488, 0.0, 0.24800795, 2.46011233]
    got = vgg16.load()(pattern(64)[None])[0]
    np.testing.assert_allclose(got[:6], want, atol=1e-5)
    assert np.linalg.norm(got) == pytest.approx(22.673704, rel=1e-5)


def test_what_cannot_be_looked_at_is_refused():
    with pytest.raises(ValueError, match="level"):
        face_resnet.load(eyes=((0.3, 0.3), (0.6, 0.4)))
    with pytest.raises(ValueError, match="level"):
        face_resnet.to_chip(np.zeros((1, 9, 9, 3)), ((0.6, 0.3), (0.3, 0.3)))
    with pytest.raises(ValueError, match=r"31 pixels.*\(1, 30, 64, 3\)"):
        lpips.distance(random_lpips(), *np.zeros((2, 1, 30, 64, 3)))
    with pytest.raises(ValueError, match="b h w 3"):
        face_resnet.to_chip(np.zeros((9, 9, 3)))
