# Random Seurat and SingleCellExperiment objects: known counts, with the oddities of real objects. The state of R's
# generator alone makes an object.

hostile <- c(
  "a/b", "/", ".", "..", "_index", "nan", "NA", "None", "index", "\u00e9 \u2014", strrep("x", 300), "1", "-1", "TRUE",
  "'q'", "\"", "{x}", "%s", "`a`", "a,b", "CD3E", "counts", "spatial", "celloquy", "nCount_RNA", "x y", "#", "$a",
  "seurat"
)

maybe <- function(share = 0.5) stats::runif(1) < share

one_of <- function(x) x[[sample.int(length(x), 1)]]

some_names <- function(n) sample(hostile, n, replace = TRUE)

# What may end with: "result", the result of the plain counts; "either", a result or a condition of ours; "refusal".
specimen <- function(cells = sample(2:30, 1)) {
  genes <- unlist(reticulate::py_to_r(python_module("specimens")$SYMBOLS))
  counts <- matrix(stats::rpois(length(genes) * cells, stats::rexp(length(genes))), length(genes), cells)
  counts[sample.int(length(genes), 1), ] <- 3
  counts <- methods::as(methods::as(methods::as(counts, "dMatrix"), "generalMatrix"), "CsparseMatrix")
  dimnames(counts) <- list(genes, paste0("cell", seq_len(cells)))
  list(
    counts = counts, names = genes, cells = colnames(counts), end = "result", oddities = character(),
    data = data.frame(
      batch = rep(c("b0", "b1"), length.out = cells), label = factor(rep(c("T", "B"), length.out = cells)),
      row.names = colnames(counts)
    ),
    form = "v5", identical = TRUE, change = identity
  )
}

worse <- function(s, end) {
  order <- c("result", "either", "refusal")
  s$end <- order[max(match(c(s$end, end), order))]
  s
}

take <- function(s, genes = seq_len(nrow(s$counts)), cells = seq_len(ncol(s$counts))) {
  s$counts <- s$counts[genes, cells, drop = FALSE]
  s$names <- s$names[genes]
  s$cells <- s$cells[cells]
  s$data <- s$data[cells, , drop = FALSE]
  s
}

shapes <- list(
  one_cell = function(s) take(s, cells = 1),
  one_gene = function(s) worse(take(s, genes = 1), "either"),
  few_genes = function(s) worse(take(s, genes = sample(nrow(s$counts), sample(2:10, 1))), "either"),
  other_order = function(s) take(s, genes = sample(nrow(s$counts))),
  empty_cells = function(s) {
    s$counts[, sample(ncol(s$counts), max(1, ncol(s$counts) %/% 3))] <- 0
    worse(s, if (sum(s$counts) > 0) "result" else "either")
  }
)

gene_names <- list(
  ids = function(s) {
    known <- unlist(reticulate::py_to_r(python_module("specimens")$ids_of_symbols()))
    s$names <- known[match(s$names, unlist(reticulate::py_to_r(python_module("specimens")$SYMBOLS)))]
    s
  },
  small_letters = function(s) {
    s$names <- tolower(s$names)
    s
  },
  mouse = function(s) {
    s$names <- paste0(substr(s$names, 1, 1), tolower(substring(s$names, 2)))
    worse(s, "either")
  },
  antibodies = function(s) {
    n <- sample(1:5, 1)
    others <- methods::as(matrix(stats::rpois(n * ncol(s$counts), 30) + 1, n), "CsparseMatrix")
    # They have the names of genes, as Cell Ranger makes them unique.
    dimnames(others) <- list(paste0(sample(s$names, n, replace = TRUE), "-", seq_len(n)), colnames(s$counts))
    s$types <- rep(c("Gene Expression", "Antibody Capture"), c(nrow(s$counts), n))
    s$counts <- rbind(s$counts, others)
    s$names <- c(s$names, rownames(others))
    s
  },
  none = function(s) {
    s$names <- paste0("peak-", seq_along(s$names))
    worse(s, "refusal")
  },
  with_others = function(s) {
    n <- sample(1:20, 1)
    others <- Matrix::Matrix(matrix(stats::rpois(n * ncol(s$counts), 0.3), n), sparse = TRUE)
    others <- methods::as(others, "CsparseMatrix")
    dimnames(others) <- list(paste0("odd/", seq_len(n)), colnames(s$counts))
    s$counts <- rbind(s$counts, others)
    s$names <- c(s$names, rownames(others))
    worse(s, "either")
  }
)

cell_names <- list(
  hostile = function(s) {
    s$cells <- make.unique(some_names(length(s$cells)), sep = "~")
    s
  },
  numbers = function(s) {
    s$cells <- as.character(seq_along(s$cells))
    s
  }
)

metadata <- list(
  every_kind = function(s) {
    n <- nrow(s$data)
    columns <- every_column(max(2L, n))[seq_len(n), , drop = FALSE]
    s$data <- cbind(s$data, columns[sample(ncol(columns), 5)])
    s
  },
  hostile_names = function(s) {
    for (name in unique(some_names(3))) s$data[[name]] <- sample(c("a", "", NA), nrow(s$data), replace = TRUE)
    s
  },
  lists = function(s) {
    s$data$list <- I(rep(list(list(1, "a")), nrow(s$data)))
    s$identical <- FALSE
    s
  },
  same_names = function(s) {
    s$data <- cbind(s$data, s$data[1])
    s$identical <- FALSE
    s
  },
  tables = function(s) {
    s$data$table <- matrix(seq_len(2 * nrow(s$data)), ncol = 2)
    s$identical <- FALSE
    s
  },
  no_columns = function(s) {
    s$data <- s$data[character()]
    s
  }
)

forms <- c("v3", "v5", "split", "dense", "integer", "data")

values <- list(
  missing = function(s) changed(s, NA_real_),
  infinite = function(s) changed(s, Inf),
  negative = function(s) changed(s, -2),
  fraction = function(s) changed(s, 1.5),
  log_normalised = function(s) {
    total <- pmax(Matrix::colSums(s$counts), 1)
    s$counts <- log1p(s$counts %*% Matrix::Diagonal(x = 1e4 / total))
    dimnames(s$counts) <- list(s$names, s$cells)
    worse(s, if (sum(s$counts > 0) > 20) "refusal" else "either")
  }
)

changed <- function(s, value) {
  if (!length(s$counts@x)) {
    return(worse(s, "either"))
  }
  s$counts@x[sample.int(length(s$counts@x), 1)] <- value
  worse(s, "refusal")
}

extras <- list(
  rest = function(s) {
    s$change <- function(object) add_the_rest(object, SeuratObject::GetAssayData(object, layer = "counts"), maybe)
    s
  },
  odd_reduction = function(s) {
    s$change <- function(object) {
      values <- matrix(stats::rnorm(2 * ncol(object)), ncol(object), dimnames = list(colnames(object), c("A_1", "A_2")))
      object@reductions[[one_of(hostile)]] <- SeuratObject::CreateDimReducObject(values, key = "A_", assay = "RNA")
      object
    }
    s
  },
  odd_misc = function(s) {
    s$change <- function(object) {
      values <- list(sum, quote(a + b), NULL, list(), 1i, as.raw(1:3), NA, stats::as.formula("y ~ x", globalenv()))
      object@misc <- stats::setNames(sample(values, 3), make.unique(some_names(3), sep = "~"))
      object
    }
    s$identical <- FALSE
    s
  },
  odd_identities = function(s) {
    s$change <- function(object) {
      levels <- unique(some_names(4))
      ident <- factor(sample(levels, ncol(object), replace = TRUE), levels = c("unused", levels))
      object@active.ident <- stats::setNames(ident, colnames(object))
      object
    }
    s
  },
  smaller_assay = function(s) {
    s$change <- function(object) {
      if (ncol(object) < 3) {
        return(object)
      }
      some <- SeuratObject::GetAssayData(object, layer = "counts")[1:2, 2:ncol(object), drop = FALSE]
      rownames(some) <- c("CD3", "CD4")
      object[["ADT"]] <- suppressWarnings(SeuratObject::CreateAssay5Object(some))
      object
    }
    worse(s, "either")
  }
)

dressed <- function() {
  s <- specimen()
  share <- one_of(c(0.15, 0.3, 0.6))
  for (stage in list(shapes, gene_names, cell_names, metadata, values, extras)) {
    if (maybe(share)) {
      name <- one_of(names(stage))
      s <- stage[[name]](s)
      s$oddities <- c(s$oddities, name)
    }
  }
  s$form <- one_of(if (s$end == "refusal") setdiff(forms, "integer") else forms)
  s
}

named_counts <- function(s) {
  counts <- s$counts
  dimnames(counts) <- list(s$names, s$cells)
  counts
}

# The Seurat object; where Seurat itself can't make it there is none.
as_seurat <- function(s) {
  no_object(suppressWarnings({
    counts <- named_counts(s)
    given <- switch(s$form, dense = as.matrix(counts), integer = round(counts), counts)
    assay <- if (s$form == "v3") {
      SeuratObject::CreateAssayObject(counts = given)
    } else if (s$form == "data") {
      SeuratObject::CreateAssay5Object(data = given)
    } else {
      SeuratObject::CreateAssay5Object(counts = given)
    }
    if (s$form == "split" && ncol(counts) > 3) {
      assay <- split(assay, f = rep(c("one", "two"), length.out = ncol(counts)))
    }
    if (!is.null(s$types)) {
      place <- if (s$form == "v3") "meta.features" else "meta.data"
      methods::slot(assay, place)$feature_types <- s$types
    }
    object <- SeuratObject::CreateSeuratObject(assay)
    data <- s$data
    attr(data, "row.names") <- colnames(object)
    object@meta.data <- data
    if (s$form == "split" || s$form == "data") object else s$change(object)
  }))
}

as_sce <- function(s) {
  no_object({
    counts <- named_counts(s)
    if (maybe(0.2)) colnames(counts) <- NULL
    sce <- SingleCellExperiment::SingleCellExperiment(list(counts = counts))
    data <- S4Vectors::DataFrame(s$data, row.names = colnames(counts), check.names = FALSE)
    SummarizedExperiment::colData(sce) <- data
    if (!is.null(s$types)) SummarizedExperiment::rowData(sce)$feature_types <- s$types
    if (maybe(0.3)) {
      values <- matrix(stats::rnorm(2 * ncol(sce)), ncol(sce))
      rownames(values) <- colnames(sce)
      SingleCellExperiment::reducedDim(sce, one_of(hostile)) <- values
    }
    if (maybe(0.3)) {
      some <- counts[seq_len(min(3, nrow(counts))), , drop = FALSE]
      other <- SingleCellExperiment::SingleCellExperiment(list(counts = some))
      SingleCellExperiment::altExp(sce, one_of(hostile)) <- other
    }
    if (maybe(0.3)) S4Vectors::metadata(sce) <- stats::setNames(list(1L, "a", quote(a + b)), unique(some_names(9))[1:3])
    if (maybe(0.2)) SummarizedExperiment::assay(sce, one_of(hostile)) <- as.matrix(counts)
    if (maybe(0.2)) SummarizedExperiment::colData(sce)$lists <- S4Vectors::SimpleList(as.list(seq_len(ncol(sce))))
    if (maybe(0.2)) SummarizedExperiment::colData(sce)$rle <- S4Vectors::Rle(rep("a", ncol(sce)))
    sce
  })
}
