"""What the tests of both indexes share: awkward data, and the float64 reference that results must equal."""

import torch
from torch import Tensor


def brute_force(vectors: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Top k by float64 inner products, ties by the lower id; −inf and −1 where there are fewer than k rows."""
    scores = queries.double() @ vectors.double().T  # [B, N]
    order = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]
    fill = (len(queries), max(k - len(vectors), 0))
    found = scores.gather(1, order)
    return torch.cat([found, torch.full(fill, -torch.inf)], 1), torch.cat([order, torch.full(fill, -1)], 1)


def assert_equal(result: tuple[Tensor, Tensor], reference: tuple[Tensor, Tensor], vectors: Tensor, queries: Tensor) -> None:
    """Equality as the project defines it: ids agree wherever neighbouring scores differ by more than 1e-6 ‖q‖‖v‖."""
    (scores, ids), (expected, expected_ids) = result, reference
    assert scores.dtype == torch.float32
    assert ids.dtype == torch.int64
    tolerance = 1e-6 * queries.double().norm(dim=1, keepdim=True) * vectors.double().norm(dim=1).max().clamp(min=1e-300)
    assert torch.equal(scores.isinf(), expected.isinf())
    finite = ~expected.isinf()
    assert ((scores.double() - expected).abs() <= tolerance + 1e-37)[finite].all()  # below that float32 has only zero
    gaps = torch.nn.functional.pad(-expected.diff(dim=1).nan_to_num(0.0, 0.0, 0.0), (1, 1), value=torch.inf)
    clear = (gaps[:, :-1] > tolerance) & (gaps[:, 1:] > tolerance)
    clear[:, -1] = False  # the last one may tie with the first that was left out
    assert torch.equal(ids[clear], expected_ids[clear])


def awkward_vectors(kind: str, rows: int, dim: int) -> Tensor:
    """Data on which a scan in eight bits is worst."""
    plain = torch.randn(rows, dim)
    return {
        "gaussian": plain,
        "one huge coordinate": torch.cat([plain[:, :1] * 1e4, plain[:, 1:]], dim=1),
        "far from the origin": plain + 100,
        "lengths from 1e-6 to 1e6": plain * 10 ** torch.linspace(-6, 6, rows)[:, None],
        "one row a million times longer": torch.cat([plain[:1] * 1e6, plain[1:]]),
        "few distinct rows": plain[torch.randint(0, 7, (rows,))],
        "all the same": plain[:1].expand(rows, dim).contiguous(),
        "all zero": torch.zeros(rows, dim),
        "vanishingly small": plain * 1e-25,
        "ones and minus ones": plain.sign(),
    }[kind]


KINDS = (
    "gaussian",
    "one huge coordinate",
    "far from the origin",
    "lengths from 1e-6 to 1e6",
    "one row a million times longer",
    "few distinct rows",
    "all the same",
    "all zero",
    "vanishingly small",
    "ones and minus ones",
)
