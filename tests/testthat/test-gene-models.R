# Gene models and objects that do not fit: one clear error, or what is stated of them; the object stays as it was.

changed_object <- function(change) {
  counts <- methods::as(SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts"), "CsparseMatrix")
  object <- suppressWarnings(SeuratObject::CreateSeuratObject(change(counts)))
  object$half <- rep(c("first", "second"), length.out = ncol(object))
  object
}

# Every verb that a gene model serves.
ask_all <- function(object, model = small_gene_model()) {
  genes <- c("CD3E", "LYZ")
  list(
    function() RunCelloquy(object, model, verbose = FALSE),
    function() AnnotateCells(object, object, "half", model.object = model, epochs = 1, verbose = FALSE),
    function() GeneEmbeddings(model, object, by = "half", verbose = FALSE),
    function() GeneAttention(model, object, genes, by = "half", verbose = FALSE)
  )
}

expect_refused <- function(object, message, class, argument = NULL, model = small_gene_model()) {
  before <- object
  for (ask in ask_all(object, model)) {
    said <- rlang::catch_cnd(ask(), "error")
    expect_s3_class(said, class)
    expect_match(cli::ansi_strip(conditionMessage(said)), message)
    if (!is.null(argument)) expect_identical(said$argument, argument)
  }
  expect_identical(object, before)
}

test_that("what are no counts, and genes of other species, are refused", {
  skip_without_python()
  expect_refused(changed_object(function(x) x * 1.5), "not raw counts", "celloquy_CountsError")
  expect_refused(changed_object(log1p), "not raw counts", "celloquy_CountsError")
  expect_refused(changed_object(function(x) -x), "negative values", "celloquy_CountsError")
  fish <- changed_object(function(x) {
    rownames(x) <- sprintf("ENSDARG%011d", seq_len(nrow(x)))
    x
  })
  expect_refused(fish, "neither human nor mouse", "celloquy_GenesError", "species")
  both <- changed_object(function(x) {
    known <- GeneEmbeddings(small_gene_model())
    genes <- attr(known, "genes")
    genes <- c(head(genes$gene[genes$species == "human"], 100), head(genes$gene[genes$species == "mouse"], 100))
    x <- x[seq_along(genes), ]
    rownames(x) <- genes
    x
  })
  expect_refused(both, "human and mouse together", "celloquy_GenesError")
})

test_that("a model without medians, and one whose file is cut off, are refused with what to do", {
  skip_without_python()
  folder <- withr::local_tempdir()
  without <- file.path(folder, "without")
  python(test_path("reference.py"), "no_medians", small_gene_model(), without)
  expect_refused(small_object(), "no median of any gene.*celloquy convert --medians", "celloquy_ModelError",
    model = without
  )
  file.copy(small_gene_model(), folder, recursive = TRUE)
  cut <- file.path(folder, basename(small_gene_model()))
  weights <- file.path(cut, "model.safetensors")
  writeBin(utils::head(readBin(weights, "raw", file.size(weights)), -100), weights)
  expect_refused(small_object(), "do not belong together", "celloquy_CheckpointError", model = cut)
})

test_that("cells without counts are read as what stands for a cell, and one gene by itself", {
  skip_without_python()
  empty <- RunCelloquy(changed_object(function(x) x * 0), small_gene_model(), verbose = FALSE)
  vectors <- SeuratObject::Embeddings(empty, "celloquy")
  expect_true(all(is.finite(vectors)))
  expect_equal(vectors, vectors[rep(1, 80), ], tolerance = 1e-6, ignore_attr = TRUE)
  made <- SeuratObject::Misc(empty[["celloquy"]], "celloquy")
  expect_identical(as.vector(made$empty_cells), colnames(empty))
  expect_true(all(empty$celloquy.genes.cut == 0))
  none <- GeneEmbeddings(small_gene_model(), empty, verbose = FALSE)
  expect_identical(dim(none), c(0L, 16L))
  expect_identical(nrow(GeneAttention(small_gene_model(), empty, "LYZ", verbose = FALSE)), 0L)
  counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")["LYZ", , drop = FALSE]
  one <- GeneAttention(small_gene_model(), counts, "LYZ", verbose = FALSE)
  expect_identical(one$n.cells, sum(counts > 0))
  expect_identical(rownames(GeneEmbeddings(small_gene_model(), counts, verbose = FALSE)), "LYZ")
})

test_that("a released checkpoint is read by Python for R, and refused where it is not one", {
  skip_without_python()
  folder <- test_path("..", "..", "..", "shared", "fixtures", "genecompass")
  skip_if_not(dir.exists(folder), "the released checkpoint of the tests")
  celloquy <- reticulate::import("celloquy", convert = FALSE)
  tokens <- utils::read.delim(file.path(folder, "tokens.tsv"), na.strings = character())
  human <- tokens$gene[tokens$species == "human"][1:40]
  medians <- reticulate::r_to_py(stats::setNames(as.list(rep(2, 40)), human))
  model <- celloquy$read_genecompass(folder, tokens = file.path(folder, "tokens.tsv"), medians = medians)
  counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")[1:40, ]
  rownames(counts) <- human
  object <- suppressWarnings(SeuratObject::CreateSeuratObject(counts))
  object <- RunCelloquy(object, model, verbose = FALSE)
  expect_identical(dim(object[["celloquy"]]), c(80L, 32L))
  expect_identical(ncol(GeneEmbeddings(model)), 32L)
  said <- rlang::catch_cnd(RunCelloquy(object, folder, verbose = FALSE), "error")
  expect_s3_class(said, "celloquy_CheckpointError")
  expect_match(cli::ansi_strip(conditionMessage(said)), "no celloquy model.*`celloquy convert`")
  refused <- function(...) {
    error <- rlang::catch_cnd(celloquy$read_genecompass(folder, ...), "error")
    expect_s3_class(error, "celloquy.errors.CheckpointError")
    conditionMessage(error)
  }
  short <- withr::local_tempfile(fileext = ".tsv")
  utils::write.table(utils::head(tokens, -1), short, sep = "\t", quote = FALSE, row.names = FALSE)
  expect_match(refused(tokens = short), "not that of the checkpoint")
  expect_match(refused(tokens = file.path(folder, "tokens.tsv"), context = 65L), "too few positions")
  pickled <- withr::local_tempfile(fileext = ".pickle")
  python("-c", "import pickle, sys; open(sys.argv[1], 'wb').write(pickle.dumps({'a': print}))", pickled)
  expect_match(refused(tokens = pickled), "holds more than a table")
})
