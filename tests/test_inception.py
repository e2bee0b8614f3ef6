"""Inception-v3 of pytorch-fid, stated once more in PyTorch, with random weights."""

import jax
import numpy as np
import pytest

from ganimation_jax.features import inception

torch = pytest.importorskip("torch", reason="the second route is PyTorch's: pip install torch")
F = torch.nn.functional
pytestmark = pytest.mark.torch


class Net:
    """Makes up the weights of a unit when it first meets it, and keeps them by name."""

    def __init__(self):
        self.state, self.generator = {}, torch.Generator().manual_seed(0)

    def draw(self, name, *shape, low=0.5, high=1.5):
        value = torch.rand(shape, generator=self.generator) * (high - low) + low
        self.state[name] = value.numpy()
        return value

    def unit(self, name, x, outside, size=1, stride=1, padding=0):
        """Convolution without bias, batch norm (eps 0.001), ReLU."""
        height, width = (size, size) if isinstance(size, int) else size
        bound = (6 / (x.shape[1] * height * width)) ** 0.5
        shape = (outside, x.shape[1], height, width)
        kernel = self.draw(f"{name}.conv.weight", *shape, low=-bound, high=bound)
        scale = self.draw(f"{name}.bn.weight", outside)
        shift = self.draw(f"{name}.bn.bias", outside, low=-0.3, high=0.3)
        mean = self.draw(f"{name}.bn.running_mean", outside, low=-0.3, high=0.3)
        variance = self.draw(f"{name}.bn.running_var", outside)
        x = F.conv2d(x, kernel, stride=stride, padding=padding)
        return F.batch_norm(x, mean, variance, scale, shift, eps=1e-3).relu()

    def average(self, name, x, outside):
        pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return self.unit(f"{name}.branch_pool", pooled, outside)

    def a(self, name, x, pool):
        u, n = self.unit, f"{name}.branch"
        five = u(f"{n}5x5_2", u(f"{n}5x5_1", x, 48), 64, 5, padding=2)
        three = u(f"{n}3x3dbl_2", u(f"{n}3x3dbl_1", x, 64), 96, 3, padding=1)
        three = u(f"{n}3x3dbl_3", three, 96, 3, padding=1)
        return torch.cat([u(f"{n}1x1", x, 64), five, three, self.average(name, x, pool)], 1)

    def b(self, name, x):
        u, n = self.unit, f"{name}.branch"
        three = u(f"{n}3x3dbl_2", u(f"{n}3x3dbl_1", x, 64), 96, 3, padding=1)
        three = u(f"{n}3x3dbl_3", three, 96, 3, stride=2)
        return torch.cat([u(f"{n}3x3", x, 384, 3, stride=2), three, F.max_pool2d(x, 3, 2)], 1)

    def c(self, name, x, inside):
        u, n = self.unit, f"{name}.branch"
        row, column = {"size": (1, 7), "padding": (0, 3)}, {"size": (7, 1), "padding": (3, 0)}
        seven = u(f"{n}7x7_2", u(f"{n}7x7_1", x, inside), inside, **row)
        seven = u(f"{n}7x7_3", seven, 192, **column)
        twice = u(f"{n}7x7dbl_2", u(f"{n}7x7dbl_1", x, inside), inside, **column)
        twice = u(f"{n}7x7dbl_3", twice, inside, **row)
        twice = u(f"{n}7x7dbl_4", twice, inside, **column)
        twice = u(f"{n}7x7dbl_5", twice, 192, **row)
        return torch.cat([u(f"{n}1x1", x, 192), seven, twice, self.average(name, x, 192)], 1)

    def d(self, name, x):
        u, n = self.unit, f"{name}.branch"
        three = u(f"{n}3x3_2", u(f"{n}3x3_1", x, 192), 320, 3, stride=2)
        seven = u(f"{n}7x7x3_1", x, 192)
        seven = u(f"{n}7x7x3_2", seven, 192, (1, 7), padding=(0, 3))
        seven = u(f"{n}7x7x3_3", seven, 192, (7, 1), padding=(3, 0))
        seven = u(f"{n}7x7x3_4", seven, 192, 3, stride=2)
        return torch.cat([three, seven, F.max_pool2d(x, 3, 2)], 1)

    def e(self, name, x, maximum):
        u, n = self.unit, f"{name}.branch"
        row, column = {"size": (1, 3), "padding": (0, 1)}, {"size": (3, 1), "padding": (1, 0)}
        three = u(f"{n}3x3_1", x, 384)
        three = [u(f"{n}3x3_2a", three, 384, **row), u(f"{n}3x3_2b", three, 384, **column)]
        twice = u(f"{n}3x3dbl_2", u(f"{n}3x3dbl_1", x, 448), 384, 3, padding=1)
        twice = [u(f"{n}3x3dbl_3a", twice, 384, **row), u(f"{n}3x3dbl_3b", twice, 384, **column)]
        if maximum:
            pool = u(f"{n}_pool", F.max_pool2d(x, 3, 1, 1), 192)
        else:
            pool = self.average(name, x, 192)
        return torch.cat([u(f"{n}1x1", x, 320), *three, *twice, pool], 1)

    def __call__(self, x):
        x = self.unit("Conv2d_1a_3x3", x, 32, 3, stride=2)
        x = self.unit("Conv2d_2a_3x3", x, 32, 3)
        x = F.max_pool2d(self.unit("Conv2d_2b_3x3", x, 64, 3, padding=1), 3, 2)
        x = self.unit("Conv2d_3b_1x1", x, 80)
        x = F.max_pool2d(self.unit("Conv2d_4a_3x3", x, 192, 3), 3, 2)
        for name, pool in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            x = self.a(name, x, pool)
        x = self.b("Mixed_6a", x)
        insides = {"Mixed_6b": 128, "Mixed_6c": 160, "Mixed_6d": 160, "Mixed_6e": 192}
        for name, inside in insides.items():
            x = self.c(name, x, inside)
        x = self.d("Mixed_7a", x)
        x = self.e("Mixed_7b", x, maximum=False)
        return self.e("Mixed_7c", x, maximum=True).mean((2, 3))


@pytest.fixture(scope="module")
def seen():
    """Images, what PyTorch says of them, and its weights."""
    images = np.random.default_rng(0).uniform(-1, 1, (1, 107, 123, 3)).astype(np.float32)
    net = Net()
    with torch.no_grad():
        return images, net(torch.tensor(images).permute(0, 3, 1, 2)).numpy(), net.state


def test_features_against_torch(seen):
    images, want, state = seen
    units = inception.fold(state | {"fc.weight": np.zeros(3)})
    assert len(units) == 94
    got = jax.jit(inception.pool3)(units, images)
    assert got.shape == (1, 2048)
    np.testing.assert_allclose(got, want, atol=1e-5 * want.max())


@pytest.mark.parametrize("size", [(40, 61), (299, 299), (320, 400)])
def test_resize_is_pytorch_fids(size):
    images = np.random.default_rng(1).uniform(-1, 1, (1, *size, 3)).astype(np.float32)
    want = F.interpolate(torch.tensor(images).permute(0, 3, 1, 2), (299, 299), mode="bilinear")
    np.testing.assert_allclose(inception.resize(images), want.permute(0, 2, 3, 1), atol=1e-5)


def test_weights_are_checked_before_they_are_read(tmp_path):
    path = tmp_path / "inception.pth"
    path.write_bytes(b"not these")
    with pytest.raises(ValueError, match="damaged or another version"):
        inception.load(pytest.fail, path)


def test_load_reads_with_what_it_is_given(seen, tmp_path, monkeypatch):
    images, _, state = seen
    monkeypatch.setattr(inception, "locate", lambda asset, path: path)
    opened = []
    features = inception.load(lambda path: opened.append(path) or state, tmp_path)
    assert opened == [tmp_path]
    whole = inception.resize(images)
    want = jax.jit(inception.pool3)(inception.fold(state), whole)
    np.testing.assert_allclose(features(images), want, rtol=1e-4)
