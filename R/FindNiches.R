#' Find the niches of a tissue
#'
#' What surrounds a cell in its tissue, as an embedding and as clusters. A cell model embeds every cell, and every cell
#' gets the mean of its neighbourhood, near cells weighing more than far ones. Cells of different tissues are no
#' neighbours. Places count by their distances alone: a tissue may be moved, turned, mirrored or scaled.
#'
#' @param object A Seurat object with images or fields of view, or a matrix of raw counts (genes × cells).
#' @param model.object The directory of a saved model, the name `"org/name"` of one on the hub, or a model of Python.
#'   `NULL` is the model in the box, `"cells-mini"`. It is not told the positions.
#' @param assay Name of the assay; by default the object's default assay.
#' @param layer Layer with the raw counts.
#' @param tissue.by Column of the metadata with the tissue, such as a slice. By default each image is a tissue.
#' @param tissue The tissue of each cell: one value for each; by default all are of one.
#' @param positions Positions of the cells: a matrix of cells × 2.
#' @param n.neighbors Size of a neighbourhood, in cells; by default, of 4 to 64, the one that predicts cells best from
#'   the others in it.
#' @param n.niches Number of niches, found by k-means; by default Leiden decides by `resolution`.
#' @param resolution Resolution of Leiden: the higher, the more niches. It is not used with `n.niches`.
#' @param composition Weight of the composition (the shares of 16 states of cells, clusters of the embedding) beside the
#'   mean of the embedding, each in standard deviations, such as 0.5; by default 0, which leaves it out.
#' @param center.tissues Take the mean of its tissue off every cell's embedding, so that slices measured apart share
#'   their niches; `FALSE` where tissues differ in what they are, not in how they were measured.
#' @param cluster.name Name of the column of the metadata with the niches.
#' @param reduction.name Name of the dimensional reduction with the embedding of the neighbourhoods.
#' @param seed.use Seed of the clusters; `NULL` draws one from R's random numbers.
#' @inheritParams RunCelloquy
#'
#' @return
#' * For Seurat, the object with the niche of every cell in the metadata, a factor whose first level, `"0"`, is the
#'   largest, and the embedding of the neighbourhoods as a [DimReduc][SeuratObject::DimReduc-class]; how they were made
#'   is in `Misc(object[["niches"]], "celloquy")`.
#' * For a matrix, a list: `niche`, the factor, and `embedding`, a matrix of cells × dimensions.
#'
#' If the call fails or is interrupted, nothing has changed.
#'
#' @examplesIf celloquy:::examples_can_run()
#' object <- SeuratObject::pbmc_small
#' places <- data.frame(x = runif(80), y = runif(80), cell = colnames(object))
#' object[["slice"]] <- SeuratObject::CreateFOV(places, type = "centroids", assay = "RNA")
#' object <- FindNiches(object, n.niches = 3, verbose = FALSE)
#' table(object$niche)
#' @export
FindNiches <- function(object, ...) {
  UseMethod("FindNiches")
}

#' @rdname FindNiches
#' @export
FindNiches.Seurat <- function(object, model.object = NULL, assay = NULL, layer = "counts", tissue.by = NULL,
                              adapt = NULL, n.neighbors = NULL, n.niches = NULL, resolution = 0.2,
                              composition = 0, center.tissues = TRUE, counts = NULL, species = NULL,
                              precision = "auto", device = "auto", cluster.name = "niche", reduction.name = "niches",
                              reduction.key = "NICHE_", seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  check_new_name(cluster.name, arg = "cluster.name")
  check_new_name(reduction.name, object, "DimReduc")
  check_new_key(reduction.key)
  assay <- choose_assay(object, assay)
  columns <- cell_columns(object, tissue.by, spatial = TRUE)
  found <- find_niches(
    read_cells(object, assay, layer), columns, model.object, adapt, n.neighbors, n.niches, resolution, composition,
    center.tissues, counts, species, precision, device, seed.use, verbose
  )
  object[[reduction.name]] <- result_reduction(found$embedding, reduction.key, assay)
  object <- SeuratObject::AddMetaData(object, found$niche, cluster.name)
  SeuratObject::LogSeuratCommand(object)
}

#' @rdname FindNiches
#' @export
FindNiches.default <- function(object, positions, model.object = NULL, assay = NULL, layer = "counts", tissue = NULL,
                               adapt = NULL, n.neighbors = NULL, n.niches = NULL, resolution = 0.2,
                               composition = 0, center.tissues = TRUE, counts = NULL, species = NULL,
                               precision = "auto", device = "auto", seed.use = 42, verbose = TRUE, ...) {
  rlang::check_dots_empty()
  find_niches(
    read_cells(object, assay, layer), list(tissue = tissue, positions = positions), model.object, adapt, n.neighbors,
    n.niches, resolution, composition, center.tissues, counts, species, precision, device, seed.use, verbose
  )
}

# The niche of every cell and the embedding of its neighbourhood, of cells as read_cells() returns them.
find_niches <- function(cells, columns, model.object, adapt, n.neighbors, n.niches, resolution, composition,
                        center.tissues, counts, species, precision, device, seed.use, verbose,
                        call = rlang::caller_env()) {
  n.neighbors <- whole_number(n.neighbors, call = call)
  n.niches <- whole_number(n.niches, call = call)
  seed <- whole_number(seed.use %||% sample.int(.Machine$integer.max, 1), "seed.use", call)
  crossing <- cross_cells(cells, columns, call = call)
  bridge <- python_bridge(call, torch = TRUE)
  model <- check_model(model.object %||% model_in_the_box, call)
  adata <- crossing$adata()
  with_python(with_progress(bridge$niches(
    adata,
    model = model, columns = c(crossing$keys, list(counts = counts)), species = species, adapt = adapt,
    n_neighbors = n.neighbors, n_niches = n.niches, resolution = resolution, composition = composition,
    center_tissues = center.tissues, precision = precision, device = device, seed = seed, progress = verbose
  ), verbose), crossing$subject, call)
  key <- reticulate::py_to_r(bridge$keys())$niche
  niche <- as.vector(reticulate::py_to_r(bridge$text_by_cell(adata, key)))
  levels <- as.character(seq_along(unique(niche)) - 1)
  embedding <- reticulate::py_to_r(bridge$embedding_to_r(adata, paste0("X_", key)))
  dimnames(embedding) <- list(crossing$names, NULL)
  attr(embedding, "celloquy") <- provenance(adata, key)
  list(niche = stats::setNames(factor(niche, levels), crossing$names), embedding = embedding)
}

#' @rdname FindNiches
#' @param pt.size Size of the points.
#' @return For `NichePlot()`, a ggplot of every cell at its place in the colour of its niche, a panel for each image.
#' @export
NichePlot <- function(object, cluster.name = "niche", pt.size = 0.8) {
  rlang::check_installed("ggplot2")
  niche <- stats::setNames(metadata_column(object[[]], cluster.name, "cluster.name"), colnames(object))
  drawn <- tissue_positions(object)
  drawn$niche <- factor(niche[rownames(drawn)])
  ggplot2::ggplot(drawn, ggplot2::aes(.data$x, .data$y, colour = .data$niche)) +
    ggplot2::geom_point(size = pt.size) +
    ggplot2::facet_wrap("image") +
    ggplot2::coord_equal() +
    ggplot2::guides(colour = ggplot2::guide_legend(override.aes = list(size = 2))) +
    ggplot2::labs(colour = cluster.name) +
    ggplot2::theme_void()
}
