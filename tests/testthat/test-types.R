# Counts of genes with antibodies and guides among them, as Cell Ranger gives them.
with_antibodies <- function() {
  counts <- pbmc_counts()
  python_objects()$with_antibodies(reticulate::r_to_py(Matrix::t(counts))$tocsr(), as.list(rownames(counts)))
}

antibodies <- c("CD3E-prot", "MS4A1-prot", "CD4")

same_as_read <- function(object) {
  expect_identical(SeuratObject::Assays(object), c("RNA", "ADT", "GDO"))
  expect_identical(rownames(object[["RNA"]]), rownames(pbmc_counts()))
  expect_identical(rownames(object[["ADT"]]), antibodies)
  expect_identical(rownames(object[["GDO"]]), "guide-1")
  expect_identical(
    SeuratObject::LayerData(object, layer = "counts")@x, pbmc_counts()@x
  )
  expect_identical(unname(object$nCount_RNA), unname(Matrix::colSums(pbmc_counts())))
  proteins <- SeuratObject::LayerData(object, assay = "ADT", layer = "counts")
  expect_identical(unname(object$nCount_ADT), unname(Matrix::colSums(proteins)))
  expect_true(methods::validObject(object))
}

without_attribute <- function(object) {
  attr(object, "report") <- NULL
  object
}

test_that("antibodies and guides of an AnnData are assays of their own, and return among the genes", {
  skip_without_python()
  adata <- with_antibodies()
  object <- AnnDataToSeurat(adata, verbose = FALSE)
  same_as_read(object)
  back <- SeuratToAnnData(object, verbose = FALSE)
  expect_identical(reticulate::py_to_r(python_objects()$differences(adata, back)), list())
  expect_same(AnnDataToSeurat(back, verbose = FALSE), without_attribute(object))
  expect_same(through_a_file(without_attribute(object)), without_attribute(object))
})

test_that("so are those of a file of Cell Ranger", {
  skip_without_python()
  file <- withr::local_tempfile(fileext = ".h5")
  python_objects()$cell_ranger_file(with_antibodies(), file)
  same_as_read(ReadH5AD(file, verbose = FALSE))
  object <- ReadH5AD(file, feature.column = "gene_ids", verbose = FALSE)
  expect_identical(rownames(object[["ADT"]]), c("id100", "id101", "id102"))
})

test_that("what Seurat computed of each type returns, and Python has all types in one", {
  skip_without_python()
  skip_if_not_installed("Seurat")
  object <- without_attribute(AnnDataToSeurat(with_antibodies(), verbose = FALSE))
  suppressWarnings({
    object <- Seurat::NormalizeData(object, verbose = FALSE)
    object <- Seurat::NormalizeData(
      object,
      assay = "ADT", normalization.method = "CLR", margin = 2, verbose = FALSE
    )
    object <- Seurat::FindVariableFeatures(object, nfeatures = 20, verbose = FALSE)
    object <- Seurat::ScaleData(object, verbose = FALSE)
    object <- Seurat::ScaleData(object, assay = "ADT", features = antibodies, verbose = FALSE)
  })
  adata <- SeuratToAnnData(object, verbose = FALSE)
  expect_identical(unlist(reticulate::py_to_r(adata$shape)), c(80L, 234L))
  expect_identical(unlist(reticulate::py_to_r(adata$var_names$to_list()))[101:104], c(
    "CD3E_prot", "MS4A1_prot", "CD4", "guide|1"
  ))
  variable <- unlist(reticulate::py_to_r(adata$var[["highly_variable"]]$to_list()))
  expect_identical(sum(variable), 20L)
  expect_same(AnnDataToSeurat(adata, verbose = FALSE), object)
  expect_same(through_a_file(object), object)
  some <- suppressWarnings(subset(object, cells = colnames(object)[11:50]))
  back <- there_and_back(some)
  # Seurat leaves the counts of one guide as a bare vector.
  expect_identical(as.vector(back[["GDO"]]@layers$counts), some[["GDO"]]@layers$counts)
  back@assays$GDO <- some@assays$GDO
  expect_same(back, some)
})

test_that("types whose assays can't be one are kept as other assays are", {
  skip_without_python()
  object <- without_attribute(AnnDataToSeurat(with_antibodies(), verbose = FALSE))
  object@assays$ADT <- suppressWarnings(subset(object@assays$ADT, cells = colnames(object)[1:9]))
  adata <- SeuratToAnnData(object, verbose = FALSE)
  expect_identical(reticulate::py_to_r(adata$n_vars), 230L)
  report <- attr(adata, "report")
  expect_match(report$detail[report$part == "assay ADT"], "uns", fixed = TRUE)
  back <- AnnDataToSeurat(adata, verbose = FALSE)
  expect_identical(back@assays, object@assays)
  expect_identical(back[[]], object[[]])
  # The names that they had in Python are not forgotten.
  expect_identical(SeuratObject::Misc(back, "anndata")$genes, SeuratObject::Misc(object, "anndata")$genes)
  alone <- SeuratToAnnData(object, assays = "separate", verbose = FALSE)
  expect_identical(names(alone), c("RNA", "ADT", "GDO"))
})

test_that("features that Python selected come apart by what they are", {
  skip_without_python()
  adata <- SeuratToAnnData(AnnDataToSeurat(with_antibodies(), verbose = FALSE), verbose = FALSE)
  np <- python_objects()$np
  some <- adata[, np$arange(99L, 103L)]$copy()
  back <- AnnDataToSeurat(some, verbose = FALSE)
  expect_identical(lapply(back@assays, rownames), list(RNA = rownames(pbmc_counts())[[100]], ADT = antibodies))
  expect_match(attr(back, "report")$part[attr(back, "report")$action == "dropped"], "assay GDO", all = FALSE)
  proteins <- AnnDataToSeurat(adata[, np$arange(100L, 103L)]$copy(), verbose = FALSE)
  expect_identical(lapply(proteins@assays, rownames), list(RNA = antibodies))
  # They are proteins whatever their assay is called.
  expect_error(RunCelloquy(proteins, verbose = FALSE), "None of the features.*Antibody", class = "celloquy_GenesError")
})

test_that("no verb reads as a gene what the metadata of features calls something else", {
  skip_without_python()
  counts <- rbind(pbmc_counts(), 50)
  rownames(counts)[[231]] <- "CD4"
  colnames(counts) <- colnames(pbmc_counts())
  types <- rep(c("Gene Expression", "Antibody Capture"), c(230, 1))
  embed <- function(object) RunCelloquy(object, small_model(), verbose = FALSE)
  expected <- embed(pbmc_counts())
  objects <- list(
    v3 = SeuratObject::CreateAssayObject(counts = counts), v5 = SeuratObject::CreateAssay5Object(counts = counts)
  )
  objects$v3@meta.features$feature_types <- types
  objects$v5@meta.data$feature_types <- factor(types)
  for (assay in objects) {
    found <- SeuratObject::Embeddings(embed(assay))
    expect_equal(unname(found), unname(expected), ignore_attr = TRUE)
  }
  skip_if_not_installed("SingleCellExperiment")
  sce <- SingleCellExperiment::SingleCellExperiment(list(counts = counts))
  SummarizedExperiment::rowData(sce)$Type <- types
  found <- SingleCellExperiment::reducedDim(embed(sce), "CELLOQUY")
  expect_equal(unname(found), unname(expected), ignore_attr = TRUE)
})

test_that("variable features that are chosen anew in R reach Python, and the report says so", {
  skip_without_python()
  adata <- with_antibodies()
  reticulate::py_set_item(adata$var, "highly_variable", python_objects()$np$arange(234L) < 5L)
  object <- without_attribute(AnnDataToSeurat(adata, verbose = FALSE))
  expect_identical(SeuratObject::VariableFeatures(object), rownames(object)[1:5])
  expect_same(there_and_back(object), object)
  SeuratObject::VariableFeatures(object) <- rownames(object)[c(9, 8)]
  adata <- SeuratToAnnData(object, verbose = FALSE)
  report <- attr(adata, "report")
  expect_identical(report$part[report$action == "dropped"], "feature column highly_variable")
  expect_identical(which(unlist(reticulate::py_to_r(adata$var[["highly_variable"]]$to_list()))), 8:9)
  expect_identical(SeuratObject::VariableFeatures(AnnDataToSeurat(adata, verbose = FALSE)), rownames(object)[c(9, 8)])
})

test_that("they are alternative experiments of a SingleCellExperiment, and return among the genes", {
  skip_without_python()
  skip_if_not_installed("SingleCellExperiment")
  adata <- with_antibodies()
  sce <- AnnDataToSCE(adata, verbose = FALSE)
  expect_identical(rownames(sce), rownames(pbmc_counts()))
  expect_identical(SingleCellExperiment::altExpNames(sce), c("Antibody Capture", "CRISPR Guide Capture"))
  expect_identical(rownames(SingleCellExperiment::altExp(sce)), c("CD3E_prot", "MS4A1_prot", "CD4"))
  back <- SCEToAnnData(sce, verbose = FALSE)
  expect_identical(reticulate::py_to_r(python_objects()$differences(adata, back)), list())
  unreported <- function(sce) {
    S4Vectors::metadata(sce)$report <- NULL
    sce
  }
  expect_identical(unreported(AnnDataToSCE(back, verbose = FALSE)), unreported(sce))
  some <- sce[1:50, 1:20]
  adata <- SCEToAnnData(some, verbose = FALSE)
  expect_identical(reticulate::py_to_r(adata$n_vars), 54L)
  back <- AnnDataToSCE(adata, verbose = FALSE)
  # What is remembered of the AnnData is remembered of these features.
  S4Vectors::metadata(back) <- S4Vectors::metadata(some) <- list()
  expect_identical(back, some)
  # What was changed since, so that they can't be one, is kept as other experiments are.
  SummarizedExperiment::assay(sce, "log") <- log1p(SummarizedExperiment::assay(sce, "counts"))
  adata <- SCEToAnnData(sce, verbose = FALSE)
  expect_identical(reticulate::py_to_r(adata$n_vars), 230L)
  expect_identical(
    SingleCellExperiment::altExp(AnnDataToSCE(adata, verbose = FALSE)), SingleCellExperiment::altExp(sce)
  )
})
