# The names of arguments in R and in Python, and texts of Python in the words of R.

# R spells an argument as Python does, with dots (`batch_size` is `batch.size`), and calls the name of a column by what
# the cells are sorted by (`tissue_key` is `tissue.by`). These are all the exceptions, each with its reason.
argument_exceptions <- list(
  adata = c(r = "object", why = "a generic dispatches on `object`, which need not be an AnnData"),
  model = c(r = "model.object", why = "LogSeuratCommand() stores no argument with \"object\" in its name"),
  genes = c(r = "features", why = "Seurat's word"),
  seed = c(r = "seed.use", why = "Seurat's word"),
  progress = c(r = "verbose", why = "Seurat's word; it stands for messages, too"),
  out = c(r = "model.dir", why = "in R it holds a model, as results stay in the object"),
  key_added = c(r = "new.assay.name", why = "Seurat's word; for an embedding it is `reduction.name`"),
  spatial_key = c(r = "spatial", why = "positions come from the images of the object, which have no key")
)

# The functions of R for Python's verbs, and for the tasks that these fit.
verbs_of_r <- c(
  embed = "RunCelloquy", integrate = "RunCelloquy", pretrain = "RunCelloquy", annotate = "AnnotateCells",
  denoise = "DenoiseExpression", impute = "ImputeGenes", niches = "FindNiches"
)
tasks_of_r <- c(
  Integrator = "RunCelloquy", Annotator = "AnnotateCells", Denoiser = "DenoiseExpression", Imputer = "ImputeGenes",
  GeneClassifier = "ClassifyGenes", ResponsePredictor = "PredictResponse",
  SamplePredictor = "PredictSamples"
)

# Functions that are named rather than called.
functions_of_r <- c(
  gene_embeddings = "GeneEmbeddings()", similar_genes = "SimilarGenes()", gene_attention = "GeneAttention()",
  classify_genes = "ClassifyGenes()",
  infer_network = "InferNetwork()", write_network = "WriteNetwork()",
  perturb = "PerturbGenes()", rank_drivers = "RankDrivers()", predict_response = "PredictResponse()",
  predict_samples = "PredictSamples()"
)

r_name <- function(name) {
  if (name %in% names(functions_of_r)) {
    return(functions_of_r[[name]])
  }
  if (name %in% names(argument_exceptions)) {
    return(argument_exceptions[[name]][["r"]])
  }
  gsub("_", ".", sub("_key$", "_by", name), fixed = TRUE)
}

# What Python says of its arguments and of AnnData, said of R's. `subject` is what the user knows the counts as.
in_terms_of_r <- function(text, subject) {
  text <- of_seurat(text, subject)
  text <- of_verbs(text)
  # Every identifier in backticks is an argument, and so is what stands before an equals sign.
  text <- replace_matches(text, "(?<=`)[a-z][a-z0-9_]*(?=`)", r_name)
  text <- replace_matches(text, "\\b[a-z][a-z0-9_]*=(?=[\"'\\[A-Z0-9])", function(name) {
    paste(r_name(sub("=$", "", name)), "= ")
  })
  # Values as R writes them.
  text <- gsub("(?<![[:alnum:]])'([^']*)'(?![[:alnum:]])", "\"\\1\"", text, perl = TRUE)
  for (value in list(c("None", "NULL"), c("True", "TRUE"), c("False", "FALSE"))) {
    text <- gsub(paste0("\\b", value[[1]], "\\b(?! of )"), value[[2]], text, perl = TRUE)
  }
  text
}

# The parts of an AnnData as those of an object of R.
of_seurat <- function(text, subject) {
  counts <- "\\bX of (adata|reference|spatial)\\b|\\badata[.]X\\b"
  subject <- gsub("\\", "\\\\", subject, fixed = TRUE)
  text <- gsub(counts, subject, text, perl = TRUE)
  text <- gsub("\\b(adata|spatial)[.]obs\\b", "the metadata", text, perl = TRUE)
  text <- gsub("\\breference[.]obs\\b", "the metadata of the reference", text, perl = TRUE)
  names <- "`?\\b(adata|reference|spatial)[.]var_names\\b`?"
  text <- gsub(paste0("\\bin ", names), "among the features", text, perl = TRUE)
  text <- gsub(names, "the names of the features", text, perl = TRUE)
  text <- gsub("\\bgene of reference\\b", "gene of the reference", text, perl = TRUE)
  # To Python's training R's one object is input 1.
  within <- sub("^(.)", "\\L\\1", subject, perl = TRUE)
  gsub("\\bgene of (adata|spatial|input 1)\\b", paste("gene of", within), text, perl = TRUE)
}

# Functions, classes and saved tasks of Python as the functions of R.
of_verbs <- function(text) {
  text <- replace_matches(text, "\\b(cq|celloquy)[.][a-z]+(?=\\()", function(verb) {
    name <- sub(".*[.]", "", verb)
    if (name %in% names(verbs_of_r)) verbs_of_r[[name]] else verb
  })
  text <- replace_matches(text, "\\bthe task ['\"][a-z]+['\"]", function(task) {
    name <- gsub("^the task .|.$", "", task)
    if (name %in% names(verbs_of_r)) paste0(verbs_of_r[[name]], "()") else task
  })
  text <- gsub(", as [a-z]+[.]save\\(\\) writes it", "", text, perl = TRUE)
  text <- gsub("\\b[A-Za-z]+[.]save\\(\\) wrote\\b", "`out` kept", text, perl = TRUE)
  for (class in names(tasks_of_r)) {
    text <- gsub(paste0("\\ban? ", class, "\\b"), paste0("a model of ", tasks_of_r[[class]], "()"), text, perl = TRUE)
    text <- gsub(paste0("\\b", class, "\\b"), paste0("model of ", tasks_of_r[[class]], "()"), text, perl = TRUE)
  }
  gsub("the class that saved it", "the function that kept it", text, fixed = TRUE)
}

replace_matches <- function(text, pattern, replacement) {
  found <- gregexpr(pattern, text, perl = TRUE)
  regmatches(text, found) <- lapply(regmatches(text, found), function(matches) {
    vapply(matches, replacement, "", USE.NAMES = FALSE)
  })
  text
}

# What to do, in terms of R: of several ways those that R's users can go. What to do to an object of Python helps no one
# here; where there is no other way, what helps with every error of its class is said instead.
remedy_in_r <- function(remedy, class, argument, subject) {
  # Results stay in R's object, so there is no file to write them to.
  remedy <- gsub(", or out='[^']*'[^.]*", "", remedy)
  of_python <- paste(
    "\\b(adata|anndata|celloquy[.]|cq[.]|obsm?\\b|uns\\b|var[._]names|fit\\()", "[A-Za-z]+[.][a-z_]+\\(",
    "from_pretrained", "(Config|Vocabulary|AnnData)\\b",
    sep = "|"
  )
  ways <- strsplit(sub("[.]$", "", remedy), "(, or |; |, and )", perl = TRUE)[[1]]
  ways <- vapply(ways, in_terms_of_r, "", subject = subject, USE.NAMES = FALSE)
  usable <- !grepl(of_python, ways, perl = TRUE)
  remedy <- if (all(usable)) {
    in_terms_of_r(remedy, subject)
  } else if (usable[[1]]) {
    # What follows the first way may speak of it, so only whole ways at the end are left out.
    paste0(paste(ways[seq_len(which(!usable)[[1]] - 1)], collapse = ", or "), ".")
  } else {
    switch(class,
      CountsError = "Pass the raw counts, in a Seurat object by naming their `layer` (not `data`, not `scale.data`).",
      GenesError = "Name the features with gene symbols or Ensembl ids.",
      CheckpointError = "Pass the directory of a saved model as `model.object`.",
      if (nzchar(argument)) paste0("Change `", argument, "`, or leave it out.") else "Change what is named above."
    )
  }
  sub("^([a-z])", "\\U\\1", remedy, perl = TRUE)
}
