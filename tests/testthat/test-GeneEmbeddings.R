pbmc_counts <- function() SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")

# What Python alone finds of genes in the cells of pbmc_small, in two groups.
genes_in_python <- function(group) {
  out <- withr::local_tempdir(.local_envir = parent.frame())
  python(test_path("reference.py"), "genes", write_counts(pbmc_counts(), tissue = group), small_gene_model(), out)
  list(
    vectors = reticulate::import("numpy")$load(file.path(out, "vectors.npy")),
    table = utils::read.csv(file.path(out, "vectors.csv")),
    attention = utils::read.csv(file.path(out, "attention.csv"))
  )
}

test_that("genes of a Seurat object have the vectors that Python gives, by group, with their cells", {
  skip_without_python()
  object <- small_object()
  expected <- genes_in_python(object$half)
  before <- object
  vectors <- GeneEmbeddings(small_gene_model(), object, by = "half", verbose = FALSE)
  expect_identical(object, before)
  expect_identical(rownames(vectors), expected$table$name)
  expect_equal(unname(vectors[, ]), expected$vectors, tolerance = 1e-5, ignore_attr = TRUE)
  genes <- attr(vectors, "genes")
  expect_identical(rownames(genes), rownames(vectors))
  expect_identical(genes$n.cells, expected$table$n_cells)
  expect_identical(as.character(genes$group), expected$table$group)
  expect_identical(genes[c("gene", "symbol", "species")], expected$table[c("gene", "symbol", "species")],
    ignore_attr = TRUE
  )
  expect_true(all(genes$species == "human"))
})

test_that("every class of object gives the same vectors, and values for each cell serve as a column does", {
  skip_without_python()
  object <- small_object()
  vectors <- GeneEmbeddings(small_gene_model(), object, by = "half", verbose = FALSE)
  others <- list(object[["RNA"]], SeuratObject::pbmc_small[["RNA"]], pbmc_counts(), as.matrix(pbmc_counts()))
  for (other in others) {
    expect_identical(GeneEmbeddings(small_gene_model(), other, by = object$half, verbose = FALSE), vectors)
  }
  skip_if_not_installed("SingleCellExperiment")
  sce <- SingleCellExperiment::SingleCellExperiment(
    list(counts = pbmc_counts()),
    colData = S4Vectors::DataFrame(half = object$half)
  )
  expect_identical(GeneEmbeddings(small_gene_model(), sce, by = "half", verbose = FALSE), vectors)
})

test_that("without cells a gene has the vector that the model knows, and some may be named", {
  skip_without_python()
  vectors <- GeneEmbeddings(small_gene_model())
  expect_identical(ncol(vectors), 16L)
  genes <- attr(vectors, "genes")
  expect_setequal(unique(genes$species), c("human", "mouse"))
  expect_false("n.cells" %in% names(genes))
  some <- GeneEmbeddings(small_gene_model(), features = c("MS4A1", "Cd3e", "ENSG00000090382"))
  expect_identical(attr(some, "genes")$symbol, c("MS4A1", "Cd3e", "LYZ"))
  expect_equal(some["MS4A1", ], vectors["MS4A1", ], tolerance = 1e-6)
  one <- GeneEmbeddings(small_gene_model(), small_object(), features = "LYZ", verbose = FALSE)
  expect_identical(dim(one), c(1L, 16L))
})

test_that("a matrix of genes goes where one of cells goes", {
  skip_without_python()
  skip_if_not_installed("Seurat")
  vectors <- GeneEmbeddings(small_gene_model(), small_object(), verbose = FALSE)
  graph <- Seurat::FindNeighbors(vectors, k.param = 5, verbose = FALSE)$nn
  expect_identical(rownames(graph), rownames(vectors))
})

test_that("similar genes are those of the highest cosine, of vectors, of some of them, and of a model", {
  skip_without_python()
  vectors <- GeneEmbeddings(small_gene_model())
  found <- SimilarGenes("MS4A1", vectors, n = 5)
  centred <- scale(vectors[, ], scale = FALSE)
  centred <- centred / sqrt(rowSums(centred^2))
  cosine <- drop(centred %*% centred["MS4A1", ])
  expected <- sort(cosine[names(cosine) != "MS4A1"], decreasing = TRUE)[1:5]
  expect_identical(rownames(found), names(expected))
  expect_equal(found$cosine, unname(expected), tolerance = 1e-5)
  expect_identical(found$gene, attr(vectors, "genes")[rownames(found), "gene"])
  expect_equal(SimilarGenes("MS4A1", small_gene_model(), n = 5), found, tolerance = 1e-5)
  human <- attr(vectors, "genes")$species == "human"
  expect_false(any(grepl("[a-z]", rownames(SimilarGenes("MS4A1", vectors[human, ], n = 5)))))
  expect_identical(nrow(SimilarGenes("ENSG00000156738", vectors, n = 3)), 3L)
})

test_that("what has no vectors is refused in R's words", {
  skip_without_python()
  object <- small_object()
  failure <- function(code) rlang::catch_cnd(code, "error")
  said <- failure(GeneEmbeddings(small_model()))
  expect_s3_class(said, "celloquy_ModelError")
  expect_match(cli::ansi_strip(conditionMessage(said)), "can't describe genes, which `?GeneEmbeddings\\(\\)`? needs")
  said <- failure(GeneEmbeddings(small_gene_model(), features = "GFP"))
  expect_s3_class(said, "celloquy_GenesError")
  expect_identical(said$argument, "features")
  said <- failure(GeneEmbeddings(small_gene_model(), by = "half"))
  expect_match(conditionMessage(said), "`by` has no use without cells")
  expect_error(GeneEmbeddings(small_gene_model(), object, "no"), "no column \"no\"", class = "celloquy_ArgumentError")
  object$some <- c(NA, rep("a", 79))
  expect_error(GeneEmbeddings(small_gene_model(), object, by = "some"), "1 of 80", class = "celloquy_ArgumentError")
  expect_error(GeneEmbeddings(NULL), "No gene model", class = "celloquy_ArgumentError")
  expect_error(GeneEmbeddings(1), "not a model", class = "celloquy_ArgumentError")
  expect_error(GeneEmbeddings(small_gene_model(), 1), "no cells that can be read", class = "celloquy_ArgumentError")
  expect_error(SimilarGenes(1, small_gene_model()), "name of one gene", class = "celloquy_ArgumentError")
  expect_error(SimilarGenes("GFP", small_gene_model()), "has no vector", class = "celloquy_GenesError")
  expect_error(SimilarGenes("MS4A1", small_gene_model(), n = 0), "`n` can't be used", class = "celloquy_ArgumentError")
  expect_error(SimilarGenes("MS4A1", matrix(1, 2, 2)), "not a model", class = "celloquy_ArgumentError")
})

test_that("attention between genes is that of Python, and is drawn", {
  skip_without_python()
  object <- small_object()
  expected <- genes_in_python(object$half)$attention
  chosen <- c("CD3E", "LYZ", "HLA-DRA")
  found <- GeneAttention(small_gene_model(), object, chosen, by = "half", verbose = FALSE)
  expect_identical(found$query, expected$query)
  expect_identical(found$key, expected$key)
  expect_identical(as.character(found$group), expected$group)
  expect_equal(found$attention, expected$attention, tolerance = 1e-5)
  expect_identical(found$n.cells, expected$n_cells)
  first <- GeneAttention(small_gene_model(), object, chosen, encoder.layer = 1, verbose = FALSE)
  expect_false("group" %in% names(first))
  last <- GeneAttention(small_gene_model(), object, chosen, encoder.layer = 2, verbose = FALSE)
  expect_identical(GeneAttention(small_gene_model(), object, chosen, verbose = FALSE), last)
  expect_false(isTRUE(all.equal(first$attention, last$attention)))
  expect_error(
    GeneAttention(small_gene_model(), object, chosen, encoder.layer = 3, verbose = FALSE), "`encoder.layer`",
    class = "celloquy_ArgumentError"
  )
  skip_if_not_installed("ggplot2")
  tiles <- ggplot2::layer_data(GeneAttentionPlot(found))
  expect_identical(nrow(tiles), nrow(found))
  expect_length(unique(tiles$PANEL), 2)
  expect_error(GeneAttentionPlot(data.frame(a = 1)), "no attention between genes", class = "celloquy_ArgumentError")
})

test_that("a gene model embeds and annotates the cells of a Seurat object, and tells what it cut off", {
  skip_without_python()
  object <- RunCelloquy(small_object(), small_gene_model(), verbose = FALSE)
  expected <- embed_in_python(pbmc_counts(), small_gene_model())
  # Two processes may add up products in another order.
  expect_lte(max(abs(SeuratObject::Embeddings(object, "celloquy") - expected)), 1e-5)
  left.out <- pmax(Matrix::colSums(pbmc_counts() > 0) - 40, 0)
  # Old symbols of one gene are one gene.
  expect_lte(max(abs(object$celloquy.genes.cut - left.out)), 2)
  expect_gt(max(object$celloquy.genes.cut), 10)
  found <- RunCelloquy(pbmc_counts(), small_gene_model(), verbose = FALSE)
  expect_identical(attr(found, "celloquy")$genes.cut, object$celloquy.genes.cut)
  reference <- small_object()
  reference$type <- as.character(SeuratObject::pbmc_small$RNA_snn_res.1)
  labelled <- AnnotateCells(
    small_object(), reference, "type",
    model.object = small_gene_model(), epochs = 2, verbose = FALSE
  )
  expect_true(all(labelled$predicted.id %in% c(reference$type, "unknown")))
  expect_identical(labelled$prediction.genes.cut, object$celloquy.genes.cut)
  expect_false("prediction.genes.cut" %in% names(AnnotateCells(small_object(), verbose = FALSE)[[]]))
})
