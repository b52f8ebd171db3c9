# Calls of ExplainLabels(), CellContext(), FindNiches() and PredictSamples() on random objects. Each returns how it
# ended, or stops.

# A Seurat object with positions, and patients who are ill or not.
as_cohort <- function(s) {
  n <- nrow(s$data)
  s$data$patient <- paste0("p", seq_len(n) %% 6)
  s$data$ill <- ifelse(seq_len(n) %% 2 == 0, "yes", "no")
  s$data$age <- 30 + seq_len(n) %% 6
  object <- as_seurat(s)
  no_object(if (ncol(object)) {
    places <- data.frame(x = stats::runif(ncol(object)), y = stats::runif(ncol(object)), cell = colnames(object))
    object[["fov"]] <- SeuratObject::CreateFOV(places, type = "centroids", assay = "RNA", key = "fov_")
  })
  object
}

evidence_of_cells <- function(folder) {
  s <- dressed()
  object <- as_cohort(s)
  if (s$form == "data") s <- worse(s, "refusal")
  quiet <- list(device = "cpu", verbose = FALSE)
  verb <- one_of(list(
    list(ExplainLabels, list(object, by = one_of(list(NULL, "label", "nowhere")), verbose = FALSE), "explainable"),
    list(CellContext, c(list(object, labels = "label", spatial = maybe()), quiet), "model"),
    list(FindNiches, c(list(object, n.niches = one_of(list(NULL, 2)), composition = 0.5), quiet), "model"),
    list(PredictSamples, c(list(object, "patient", one_of(c("ill", "age"))), quiet), "model")
  ))
  given <- c(verb[[2]], list(model.object = model_of(verb[[3]])))
  result <- watched(function() do.call(verb[[1]], given), list(object), folder)
  if (s$end == "refusal") check_end(s, result)
  if (!ended(result) && !methods::is(result, "Seurat") && !is.data.frame(result)) {
    wrong("the result is a ", class(result)[[1]])
  }
  how(result)
}

# One argument has an odd value; the object is plain.
odd_arguments_of_evidence <- function(folder) {
  object <- as_cohort(specimen(30))
  quiet <- list(device = "cpu", verbose = FALSE)
  verbs <- list(
    ExplainLabels = list(object = object, model.object = model_of("explainable"), verbose = FALSE),
    CellContext = c(list(object = object, labels = "label", model.object = model_of("model")), quiet),
    FindNiches = c(list(object = object, model.object = model_of("model")), quiet),
    PredictSamples = c(list(object = object, sample.by = "patient", target = "ill"), quiet)
  )
  verb <- one_of(names(verbs))
  written <- if (verb == "FindNiches") "FindNiches.Seurat" else verb
  arguments <- names(formals(get(written, envir = asNamespace("celloquy"))))
  name <- one_of(setdiff(arguments, c("device", "verbose", "model.dir", "...")))
  value <- one_of(odd_values)
  given <- verbs[[verb]]
  given[name] <- list(value)
  tryCatch(
    how(watched(function() do.call(verb, given), list(object), folder)),
    wrong = function(condition) wrong(sprintf("%s(%s = %s): ", verb, name, said(value)), conditionMessage(condition))
  )
}

all_cases <- c(all_cases, list(
  evidence_of_cells = evidence_of_cells, odd_arguments_of_evidence = odd_arguments_of_evidence
))
weights <- c(weights, evidence_of_cells = 3, odd_arguments_of_evidence = 4)
