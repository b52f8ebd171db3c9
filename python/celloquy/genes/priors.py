"""What is known of genes before any cell is read: families, functions, protein domains, responses to signals."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from lzma import LZMAError
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from zipfile import ZIP_LZMA, BadZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celloquy.checks import check_choice
from celloquy.errors import ArgumentError, GenesError, some
from celloquy.genes.identify import identify_genes
from celloquy.genes.orthology import orthologs_of
from celloquy.genes.vocabulary import GeneVocabulary

if TYPE_CHECKING:
    import pandas as pd

PRIORS: Final = ("family", "function", "domains", "signalling")
"""Names of the priors that ship with the package."""

_FOLDER = Path(__file__).parent / "tables" / "priors"


@dataclass(frozen=True, eq=False, repr=False)
class Prior:
    """Features of genes: which family, function or domain a gene has, or how it responds; 0 is no, or not known.

    Attributes
    ----------
    name
        Name of the prior.
    ids
        Id of the gene of each row, or of the human gene of a pair, each once.
    matrix
        ``(rows, features)`` float32.
    features
        Name of each feature.
    source
        Origin of the values.
    licence
        Licence under which the values may be passed on.

    Examples
    --------
    >>> import celloquy as cq
    >>> genes = cq.GeneVocabulary.from_names(["Foxp3", "Ins1", "Actb"])
    >>> family = cq.genes.prior("family", genes)
    >>> [family.features[place] for place in family.matrix[0].indices]
    ['Forkhead boxes']
    """

    name: str
    ids: tuple[str, ...]
    matrix: sparse.csr_matrix
    features: tuple[str, ...]
    source: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if self.matrix.shape != (len(self.ids), len(self.features)) or len(set(self.ids)) < len(self.ids):
            raise ArgumentError(
                "The values of this prior do not fit its genes and features.",
                found=f"{self.matrix.shape[0]} × {self.matrix.shape[1]} values, {len(set(self.ids))} different ids, "
                f"{len(self.features)} features",
                expected="a row for each id, each id once, and a column for each feature",
                remedy="use `Prior.from_frame(frame)`.",
                argument="matrix",
            )

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, name: str = "user", source: str = "", licence: str = "") -> Prior:
        """Make a prior of a table of your own.

        Parameters
        ----------
        frame
            Genes × features, numbers or True and False; the index names the genes, by symbol or Ensembl id, of human or
            mouse. Rows that name one gene are averaged.
        name, source, licence
            As of the class.

        Raises
        ------
        ArgumentError
            If a value is not a finite number.
        """
        try:
            coordinates = cast("Any", frame).sparse.to_coo() if _is_sparse(frame) else frame.to_numpy(dtype=np.float32)
            values = sparse.csr_matrix(coordinates, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise _unfit(str(error).splitlines()[0]) from error
        if not np.isfinite(values.data).all():
            raise _unfit(f"{int((~np.isfinite(values.data)).sum()):,} missing or infinite values")
        names = [str(one) for one in frame.index]
        places: dict[str, int] = {}
        genes = [gene or own for gene, own in zip(identify_genes(names).ids, names, strict=True)]
        rows = np.array([places.setdefault(gene, len(places)) for gene in genes], dtype=np.int64)
        matrix = _mean_rows(rows, np.arange(len(genes)), (len(places), len(genes))) @ values
        return cls(name, tuple(places), matrix, tuple(map(str, frame.columns)), source, licence)

    def over(self, vocabulary: GeneVocabulary) -> Prior:
        """Return the prior of the rows of a vocabulary, in their order.

        A row has the features of its own gene, or genes; if the prior has none of them, the mean of its orthologs'.
        Other rows are 0.

        Raises
        ------
        GenesError
            If no row has a gene, or an ortholog of one, that the prior knows.
        """
        places = {gene: place for place, gene in enumerate(self.ids)}
        known: dict[int, list[int]] = {}
        for row, gene, _, _ in vocabulary.genes():
            if gene in places:
                known.setdefault(row, []).append(places[gene])
        through: dict[int, list[int]] = {}
        for row, gene, _, _ in vocabulary.genes():
            if row not in known:
                found = [places[other] for other in orthologs_of(gene) if other in places]
                through.setdefault(row, []).extend(found)
        pairs = [(row, place) for row, found in (known | through).items() for place in found]
        if not pairs:
            raise GenesError(
                f"The prior {self.name!r} knows no gene of the vocabulary.",
                found=f"genes such as {some(self.ids, 3)}; in the vocabulary {some(vocabulary.ids, 3)}",
                expected="genes of both, or orthologs",
                remedy="name the genes of the prior by symbol or Ensembl id of human or mouse.",
                argument="vocabulary",
            )
        rows, taken = np.array(pairs, dtype=np.int64).T
        matrix = _mean_rows(rows, taken, (len(vocabulary), len(self.ids))) @ self.matrix
        matrix.sort_indices()
        return Prior(self.name, vocabulary.ids, matrix, self.features, self.source, self.licence)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the prior to one compressed file, ``.npz``."""
        texts = {"ids": "\n".join(self.ids), "features": "\n".join(self.features)}
        texts["about"] = json.dumps({"name": self.name, "source": self.source, "licence": self.licence})
        matrix = self.matrix.sorted_indices()
        arrays: dict[str, NDArray[Any]] = {key: np.frombuffer(text.encode(), np.uint8) for key, text in texts.items()}
        arrays["lengths"] = np.diff(matrix.indptr).astype(np.int32)
        arrays["columns"] = matrix.indices.astype(np.uint16 if len(self.features) < 2**16 else np.int32)
        arrays["values"] = matrix.data.astype(np.float32)
        # As NumPy does it, with a better compression than it offers: a third less.
        with ZipFile(path, "w") as file:
            for key, array in arrays.items():
                entry = ZipInfo(f"{key}.npy")
                entry.compress_type = ZIP_LZMA
                with file.open(entry, "w") as stream:
                    np.save(stream, array, allow_pickle=False)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Prior:
        """Read a prior that :meth:`save` wrote.

        Raises
        ------
        ArgumentError
            If the file is not such a prior.
        """
        try:
            with Path(path).open("rb") as stream, np.load(stream) as file:
                texts = {key: file[key].tobytes().decode() for key in ("ids", "features", "about")}
                lengths, columns, values = file["lengths"], file["columns"].astype(np.int32), file["values"]
            ids, features = (tuple(filter(None, texts[key].split("\n"))) for key in ("ids", "features"))
            indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
            matrix = sparse.csr_matrix((values, columns, indptr), shape=(len(ids), len(features)))
            about = json.loads(texts["about"])
            return cls(about["name"], ids, matrix, features, about["source"], about["licence"])
        except (ValueError, KeyError, TypeError, EOFError, BadZipFile, LZMAError) as error:
            raise ArgumentError(
                f"{path} is not a saved prior.",
                found=(str(error).splitlines() or [type(error).__name__])[0],
                expected="a file that `prior.save(path)` wrote",
                remedy="write it anew, or make the prior with `Prior.from_frame(frame)`.",
                argument="path",
            ) from error

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        known = int((np.diff(self.matrix.indptr) > 0).sum())
        origin = "; ".join(filter(None, (self.source, self.licence)))
        return f"Prior {self.name!r}: {len(self.features):,} features of {known:,} of {len(self):,} genes ({origin})"


def prior(known: str | pd.DataFrame | Prior, vocabulary: GeneVocabulary) -> Prior:
    """Return what is known of the genes of a vocabulary.

    Parameters
    ----------
    known
        One of the priors that ship with the package, a :class:`Prior`, or a table of your own, see
        :meth:`Prior.from_frame`. Those that ship:

        ``"family"``
            HGNC's gene groups (CC0).
        ``"function"``
            terms of the Gene Ontology (CC BY 4.0) and pathways of Reactome (CC0), of 5 to 500 genes each; a term holds
            the genes of the terms below it.
        ``"domains"``
            Pfam's protein domains (CC0).
        ``"signalling"``
            PROGENy's responses to 14 signalling pathways (Apache 2.0): the 500 genes that answer each most clearly,
            up or down.
    vocabulary
        The genes; human, mouse or both.

    Returns
    -------
    Prior
        Its ``matrix`` is ``(rows of the vocabulary, features)``. The features of a shipped prior are those of human
        genes; a mouse gene has those of its orthologs.

    Raises
    ------
    ArgumentError
        If there is no prior of this name, or the table holds something else than numbers.
    GenesError
        If the prior knows no gene of the vocabulary.

    Examples
    --------
    >>> import celloquy as cq
    >>> vocabulary = cq.GeneVocabulary.from_names(["GATA1", "GATA2", "CD3D"])
    >>> family = cq.genes.prior("family", vocabulary)
    """
    if isinstance(known, Prior):
        return known.over(vocabulary)
    if not isinstance(known, str):
        return Prior.from_frame(known).over(vocabulary)
    check_choice("known", known, PRIORS, remedy="pass one of these names, or a DataFrame of genes × features.")
    return shipped_prior(known).over(vocabulary)


@cache
def shipped_prior(name: str) -> Prior:
    """Return a prior that ships, of all genes that it knows, by its name in :data:`PRIORS`; not to be changed."""
    return Prior.load(_FOLDER / f"{name}.npz")


def _mean_rows(rows: NDArray[np.int64], taken: NDArray[np.int64], shape: tuple[int, int]) -> sparse.csr_matrix:
    """Return the matrix that averages, into each of ``rows``, the rows ``taken`` of what it is multiplied with."""
    weights = 1 / np.bincount(rows, minlength=shape[0])[rows]
    return sparse.csr_matrix((weights.astype(np.float32), (rows, taken)), shape=shape)


def _is_sparse(frame: pd.DataFrame) -> bool:
    import pandas as pd

    return len(frame.columns) > 0 and all(isinstance(one, pd.SparseDtype) for one in frame.dtypes)


def _unfit(found: str) -> ArgumentError:
    return ArgumentError(
        "A prior needs numbers.",
        found=found,
        expected="a DataFrame of genes × features with a finite number, or True or False, for each",
        remedy="make columns of categories numbers, with `pd.get_dummies`; fill in missing values, with `.fillna(0)`.",
        argument="frame",
    )
