"""The architectures: counts and shapes as the study has them."""

from __future__ import annotations

from math import ceil, prod

import pytest
import torch
from plain_network import plain
from torch import nn

from audiocls import build_model
from audiocls.errors import SettingError
from audiocls.models import MODELS, count_parameters, resolve_architecture
from audiocls.models.layers import convolution
from audiocls.models.layers.convolution import Convolution, use_channels_last
from audiocls.models.layers.padding import grid_mean

MFCC = (49, 13)  # (frames, features): the study's picture is 13 × 49
ANY_LENGTH = [name for name in MODELS if name != "cnn"]


def counts(model: nn.Module) -> list[int]:
    """Parameters of each layer that has any, in order."""
    leaves = [m for m in model.modules() if not list(m.children())]
    return [n for n in (sum(p.numel() for p in m.parameters()) for m in leaves) if n]


def outputs(model: nn.Module, layers: list[nn.Module], shape: tuple[int, int]) -> list[list[int]]:
    """Output shapes of `layers`, without the batch, for one clip."""
    seen: dict[int, list[int]] = {}

    def note(module: nn.Module, _inputs: object, y: torch.Tensor) -> None:
        seen[id(module)] = list(y.shape[1:])

    for layer in layers:
        layer.register_forward_hook(note)
    model.eval()(torch.zeros(1, *shape))
    return [seen[id(layer)] for layer in layers]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(49, 13), (44, 128), (41, 80)])
def test_logits(name: str, shape: tuple[int, int]) -> None:
    if name == "cnn" and shape == (44, 128):
        shape = (44, 32)  # 81 million weights are not needed to see this
    y = build_model(name, 5, shape)(torch.randn(2, *shape))
    assert y.shape == (2, 5)
    assert not torch.allclose(y.sum(dim=1), torch.ones(2)), "logits, not probabilities"


def test_cnn_layers() -> None:
    model = build_model("cnn", 14, MFCC)
    assert counts(model) == [160, 32, 4640, 64, 6636032, 32832, 910]
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert outputs(model, convolutions, MFCC) == [[16, 11, 47], [32, 9, 45]]
    kinds = {type(m) for m in model.modules()}
    assert not kinds & {nn.Dropout, nn.MaxPool2d, nn.AvgPool2d, nn.Softmax}


def test_newcnn_layers() -> None:
    model = build_model("newcnn", 14, MFCC)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels, m.kernel_size) for m in convolutions] == [
        (1, 64, (3, 3)),
        *[(64, 64, (3, 3))] * 4,
    ]
    widths = [m.out_features for m in model.modules() if isinstance(m, nn.Linear)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == 14
    assert counts(model) == [640, *[64 * 64 * 9 + 64] * 4, 1024 * 256 + 256, 256 * 64 + 64, 910]


def unsettled(name: str, shape: tuple[int | None, int]) -> nn.Module:
    """A network to predict with, whose normalisation and biases move zeros away from zero."""
    torch.manual_seed(0)
    model = build_model(name, 3, shape)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
            nn.init.normal_(module.bias)
    return model.eval()


@pytest.mark.parametrize("features", [13, 128])
@pytest.mark.parametrize("name", ANY_LENGTH)
def test_padding_never_changes_a_result(name: str, features: int) -> None:
    model = unsettled(name, (None, features)).double()
    lengths = torch.tensor([1, 7, 44, 40, 2, 3])
    clips = [torch.randn(int(n), features, dtype=torch.float64) for n in lengths]
    batch = torch.full((len(clips), 50, features), 1e3, dtype=torch.float64)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    with torch.no_grad():
        alone = torch.cat([model(clip[None]) for clip in clips])
        together = model(batch, lengths)
        unpadded = model(batch[2:3, :44], lengths[2:3])
    # Sums of up to 10⁵ float64 terms in another order; a cell that leaks would change digits.
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(unpadded, alone[2:3], rtol=1e-10, atol=1e-10)
    assert len(alone.unique(dim=0)) == len(alone), "the clips can be told apart"


@pytest.mark.parametrize("name", ANY_LENGTH)
def test_padded_clips_in_bfloat16(name: str) -> None:
    model = unsettled(name, (None, 13))
    x, lengths = torch.randn(2, 300, 13), torch.tensor([300, 123])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        together, alone = model(x, lengths).float(), model(x[:1]).float()
    # 8 bits of mantissa a layer: some units of 2⁻⁸ of the largest logit.
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=float(8 * alone.abs().max() / 256))


@pytest.mark.parametrize("shape", [(44, 128), (41, 80), (49, 13), (5, 90)])
@pytest.mark.parametrize("name", ["resnet", "compact", "crnn"])
def test_how_a_picture_lies_changes_no_result(name: str, shape: tuple[int, int]) -> None:
    model = unsettled(name, shape).double()
    as_written = plain(model)
    use_channels_last(model)
    x, lengths = torch.randn(4, *shape, dtype=torch.float64), torch.tensor([shape[0], 1, 3, 2])
    for given in ((x,), (x, lengths)):
        logits, expected = model(*given), as_written(*given)
        torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
        for network, y in ((model, logits), (as_written, expected)):
            network.zero_grad()
            y[:, 0].sum().backward()
        for (what, ours), theirs in zip(
            model.named_parameters(), as_written.parameters(), strict=True
        ):
            assert ours.grad is not None, what
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-9)
    turned = [m.turned for m in model.modules() if isinstance(m, Convolution)]
    # Whether its last maps have more features than frames: crnn halves frames once.
    taller = shape == (5, 90) if name == "crnn" else shape != (49, 13)
    assert any(turned) == all(turned) == taller


@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("turned", [False, True])
def test_weights_that_meet_only_padding_are_left_out(
    kernel: int, stride: int, turned: bool
) -> None:
    for padding in range(kernel):
        layer = Convolution(2, 3, (kernel, 3), (stride, 1), (padding, 1)).double()
        layer.turned = turned
        for size in range(1, 9):
            if size + 2 * padding < kernel:
                continue
            x = torch.randn(2, 2, size, 2, dtype=torch.float64)
            expected = nn.Conv2d.forward(layer, x)
            got = layer(x.transpose(2, 3)).transpose(2, 3) if turned else layer(x)
            torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_of_a_kernel_on_one_cell_one_weight_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    whole = convolution.conv2d
    monkeypatch.setattr(
        convolution, "conv2d", lambda x, w, *rest: (seen.append(w.shape), whole(x, w, *rest))[1]
    )
    Convolution(2, 3, 3, padding=1)(torch.zeros(1, 2, 1, 4))
    assert seen == [(3, 2, 1, 3)]


def test_the_study_closes_with_adaptive_pooling() -> None:
    x = torch.randn(2, 3, 13, 21, dtype=torch.float64)
    torch.testing.assert_close(grid_mean(x, 4, None), nn.functional.adaptive_avg_pool2d(x, 4))


def test_resnet_layers() -> None:
    model = build_model("resnet", 14, MFCC)
    assert count_parameters(model) == 11_177_422
    stages = list(model.get_submodule("stages").children())
    last = [model.get_submodule("stem.3"), *(stage[-1] for stage in stages)]
    assert outputs(model, last, MFCC) == [
        [64, 4, 13],
        [64, 4, 13],
        [128, 2, 7],
        [256, 1, 4],
        [512, 1, 2],
    ]


def test_resnet_shortcuts_are_identities_wherever_shapes_agree() -> None:
    model = build_model("resnet", 14, MFCC)
    blocks = [block for stage in model.get_submodule("stages").children() for block in stage]
    kinds = [type(block.get_submodule("shortcut")) for block in blocks]
    same, projected = nn.Identity, nn.Sequential
    assert kinds == [same, same, projected, same, projected, same, projected, same]


def multiply_adds(model: nn.Module, shape: tuple[int, int]) -> int:
    """Of all convolutions and dense layers, for one clip."""
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    cells = [prod(shape[1:]) for shape in outputs(model, list(layers), shape)]
    return sum(n * layer.weight.numel() for n, layer in zip(cells, layers, strict=True))


def test_compact_is_small() -> None:
    model = build_model("best", 14, (44, 128))
    assert resolve_architecture("best") == "compact"
    assert count_parameters(model) <= 1_000_000
    assert multiply_adds(model, (44, 128)) <= 30_000_000
    one = nn.Sequential(nn.Unflatten(1, (1, 5)), nn.Conv2d(1, 7, 3, bias=False))
    assert multiply_adds(one, (5, 4)) == 3 * 2 * 7 * 9


def test_crnn_layers() -> None:
    model = build_model("crnn", 14, (44, 128))
    blocks = [stage[-1] for stage in model.get_submodule("stages").children()]
    # Features are halved from block to block; frames are left to the recurrent layer.
    assert outputs(model, blocks, (44, 128)) == [[32, 16, 22], [64, 8, 22], [128, 4, 22]]
    lstm = sum(p.numel() for p in model.get_submodule("lstm").parameters())
    assert lstm == 2 * 4 * 128 * (4 * 128 + 128 + 2)


@pytest.mark.parametrize(("name", "hidden", "layers"), [("lstm", 16, 3), ("lstm-large", 128, 8)])
def test_lstm_layers(name: str, hidden: int, layers: int) -> None:
    model = build_model(name, 14, MFCC)
    inputs = [13] + [hidden] * (layers - 1)
    # Four gates, each with input and recurrent weights and two biases.
    lstm = sum(4 * hidden * (n + hidden + 2) for n in inputs)
    first = layers * hidden
    assert counts(model) == [lstm, first * 128 + 128, 128 * 64 + 64, 64 * 14 + 14]


def test_lstm_classifies_the_last_hidden_state_of_every_layer() -> None:
    model = build_model("lstm", 4, MFCC).eval()
    x = torch.randn(2, 49, 13)
    # Restated: one single-layer LSTM after another, with the same weights.
    lstm, y, states = model.get_submodule("lstm"), x, []
    for i in range(3):
        single = nn.LSTM(y.shape[2], 16, batch_first=True)
        single.load_state_dict(
            {
                k[: -len(f"l{i}")] + "l0": v
                for k, v in lstm.state_dict().items()
                if k.endswith(f"l{i}")
            }
        )
        y, _ = single(y)
        states.append(y[:, -1])
    expected = model.get_submodule("classifier")(torch.cat(states, dim=1))
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("shape", [(4, 13), (49, 4)])
def test_an_input_too_small_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(SettingError, match=r"3×3.*>= 5"):
        build_model("cnn", 14, shape)
    assert ceil(shape[0] / 2) >= 1  # the padded networks take it
    assert build_model("resnet", 14, shape).eval()(torch.zeros(1, *shape)).shape == (1, 14)


def test_unknown_names_and_numbers() -> None:
    with pytest.raises(SettingError, match="did you mean 'resnet'"):
        build_model("resnt", 14, MFCC)
    with pytest.raises(SettingError, match="at least 2"):
        build_model("cnn", 1, MFCC)
    with pytest.raises(SettingError, match=">= 1"):
        build_model("lstm", 2, (0, 13))
