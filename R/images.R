# Images and fields of view of a Seurat object, and the places of its cells in them.

# In R every outline and every molecule is a small object. As one table they cross to Python, and to a file, a thousand
# times faster.
polygon_tables <- list(
  Segmentation = list(
    to = function(x) {
      corners <- lapply(x@polygons, function(cell) cell@Polygons[[1]]@coords)
      lengths <- vapply(corners, nrow, 0L)
      all <- do.call(rbind, unname(corners))
      # The last corner is the first again.
      last <- cumsum(lengths)
      open <- setdiff(seq_len(nrow(all)), last)
      list(
        x = unname(all[open, 1]), y = unname(all[open, 2]), cell = rep(names(x@polygons), lengths - 1L),
        row.names = if (!is.null(rownames(all))) as.integer(rownames(all)[open])
      )
    },
    from = function(table) {
      data <- data.frame(x = table$x, y = table$y, cell = table$cell)
      if (!is.null(table$row.names)) rownames(data) <- table$row.names
      suppressWarnings(SeuratObject::CreateSegmentation(data))
    }
  ),
  Molecules = list(
    to = function(x) {
      coords <- lapply(x@.Data, function(points) points@coords)
      all <- do.call(rbind, coords)
      list(
        x = unname(all[, 1]), y = unname(all[, 2]), gene = rep(names(x), vapply(coords, nrow, 0L)),
        key = SeuratObject::Key(x)
      )
    },
    from = function(table) {
      SeuratObject::CreateMolecules(data.frame(x = table$x, y = table$y, gene = table$gene), key = table$key)
    }
  )
)

# Images on their way to Python: positions in obsm["spatial"], pictures in uns["spatial"], and the rest to remember.
# `derived` are the images that were made of an AnnData's positions, which return by themselves.
images_to_python <- function(object, derived, report) {
  images <- parts_named(object, setdiff(SeuratObject::Images(object), derived))
  if (!length(images)) {
    return(list(obsm = list(), uns = list(), layout = NULL))
  }
  cells <- colnames(object)
  places <- matrix(NA_real_, length(cells), 2)
  of <- rep(NA_integer_, length(cells))
  pictures <- list()
  for (i in seq_along(images)) {
    name <- names(images)[[i]]
    centres <- pixel_places(images[[i]], name)
    rows <- match(centres$cell, cells)
    new <- !is.na(rows) & is.na(of[rows])
    places[rows[new], ] <- as.matrix(centres[new, c("x", "y")])
    of[rows[new]] <- i
    if (has_picture(images[[i]])) {
      pictures[[name]] <- picture_to_python(images[[i]])
      images[[i]]@image <- array(0, c(0, 0, 0))
    }
    kept(report, paste("image", name), paste0("obsm[\"spatial\"]", if (has_picture(images[[i]])) ", uns[\"spatial\"]"))
  }
  list(
    obsm = list(spatial = list(dense = places)),
    uns = if (length(pictures)) list(spatial = value_to_python(pictures)) else list(),
    layout = images
  )
}

has_picture <- function(image) methods::.hasSlot(image, "image")

# Centres of cells as scanpy and squidpy have them: x to the right and y down, in pixels of the full picture.
pixel_places <- function(image, name) {
  if (inherits(image, "VisiumV1")) {
    spots <- image@coordinates
    return(data.frame(cell = rownames(spots), x = spots$imagecol, y = spots$imagerow))
  }
  centres <- cell_centres(image, name)
  # Visium's second class calls the row x.
  if (inherits(image, "VisiumV2")) centres[c("x", "y")] <- centres[c("y", "x")]
  centres
}

picture_to_python <- function(image) {
  factors <- image@scale.factors
  number <- function(name) if (is.null(factors[[name]])) NULL else as.numeric(factors[[name]])
  scalefactors <- list(
    tissue_hires_scalef = number("hires"), tissue_lowres_scalef = number("lowres"),
    spot_diameter_fullres = number("spot"), fiducial_diameter_fullres = number("fiducial")
  )
  list(
    images = list(lowres = image@image),
    scalefactors = scalefactors[!vapply(scalefactors, is.null, NA)],
    metadata = list()
  )
}

# The images of an object that came from Seurat, with their pictures, for the cells that are still there.
images_from_layout <- function(layout, spatial, cells, drop) {
  images <- lapply(stats::setNames(nm = names(layout)), function(name) {
    image <- layout[[name]]
    if (has_picture(image)) {
      picture <- spatial[[name]]$images$lowres
      if (is.null(picture)) {
        drop(paste("image", name), "its picture is no longer in uns[\"spatial\"]")
        return(NULL)
      }
      attr(picture, "python") <- NULL
      image@image <- picture
    }
    here <- SeuratObject::Cells(image)
    if (all(here %in% cells)) image else if (any(here %in% cells)) subset(image, cells = intersect(here, cells))
  })
  images[!vapply(images, is.null, NA)]
}

# Images made of what scanpy and squidpy keep: positions and, for Visium, pictures.
images_from_anndata <- function(places, spatial, cells, assay) {
  rownames(places) <- cells
  known <- !is.na(places[, 1]) & !is.na(places[, 2])
  places <- places[known, , drop = FALSE]
  visium <- names(spatial)[vapply(spatial, function(one) length(one$images) > 0 && length(one$scalefactors) > 0, NA)]
  if (length(visium) == 1 && requireNamespace("Seurat", quietly = TRUE) && methods::isClass("VisiumV2")) {
    return(stats::setNames(list(visium_image(places, spatial[[visium]], assay)), image_name(visium)))
  }
  centroids <- data.frame(x = places[, 1], y = places[, 2], cell = rownames(places))
  centroids <- SeuratObject::CreateCentroids(centroids)
  list(fov = SeuratObject::CreateFOV(centroids, type = "centroids", assay = assay, key = "fov_"))
}

image_name <- function(name) make.names(name)

visium_image <- function(places, slide, assay) {
  factors <- slide$scalefactors
  picture <- slide$images$lowres %||% slide$images$hires
  attr(picture, "python") <- NULL
  if (max(picture) > 1) picture <- picture / 255
  number <- function(name) if (is.null(factors[[name]])) 1 else as.numeric(factors[[name]])
  scales <- Seurat::scalefactors(
    spot = number("spot_diameter_fullres"), fiducial = number("fiducial_diameter_fullres"),
    hires = number("tissue_hires_scalef"), lowres = number("tissue_lowres_scalef")
  )
  # Seurat's second class for Visium calls the row x and the column y.
  fov <- SeuratObject::CreateFOV(
    data.frame(x = places[, 2], y = places[, 1], cell = rownames(places)),
    type = "centroids", radius = number("spot_diameter_fullres"), assay = assay, key = "slice1_"
  )
  methods::new(
    methods::getClass("VisiumV2", where = asNamespace("Seurat")),
    image = picture, scale.factors = scales, molecules = fov@molecules, boundaries = fov@boundaries,
    assay = fov@assay, key = fov@key
  )
}
