#include "reader/model.h"

#include "base/error.h"
#include "predict/model_tokenizer.h"
#include "reader/engines.h"

namespace bertrand {
namespace {

void check_head(const ModelFolder& folder) {
  if (folder.lacks_head()) {
    throw Error(ErrorCode::bad_input,
                folder.path().string() +
                    ": has no span head (qa_outputs), so it cannot answer questions yet; "
                    "fine-tune it with bertrand train.");
  }
}

}  // namespace

Model Model::load(const std::filesystem::path& path, const ModelOptions& options) {
  return load(ModelFolder::open(path), options);
}

Model Model::load(const ModelFolder& folder, const ModelOptions& options) {
  check_head(folder);
  Model model;
  model.notes_ = folder.notes();
  model.tokenizer_ =
      std::make_unique<const Tokenizer>(load_tokenizer(folder, options.lower_case).tokenizer);
  Precision precision = options.precision;
  if (precision == Precision::automatic) {
    const PrecisionChoice choice = fastest_engine_precision(folder.config(), options.engine,
                                                            options.threads, Purpose::answers);
    precision = choice.precision;
    model.notes_.push_back("Precision auto: " + text_of(choice));
  }
  model.precision_ = precision;
  model.engine_ = make_engine(folder.config(), options.engine, precision, options.threads);
  model.engine_->open_parameters(folder.stored_parameters(/*seed=*/0));
  return model;
}

}  // namespace bertrand
