# Embed and name real cells with an installed celloquy: Rscript scripts/smoke.R.
library(celloquy)
object <- SeuratObject::pbmc_small
object <- RunCelloquy(object, verbose = FALSE)
object <- AnnotateCells(object, verbose = FALSE)
embedding <- SeuratObject::Embeddings(object, "celloquy")
named <- head(sort(table(object$predicted.id), decreasing = TRUE), 4)
stopifnot(nrow(embedding) == 80, !anyNA(embedding))
cat(sprintf(
  "R %s: embedded (%d, %d), named %s\n", packageVersion("celloquy"), nrow(embedding), ncol(embedding),
  toString(sprintf("%s %d", names(named), named))
))
