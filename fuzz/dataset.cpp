#include "squad/dataset.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "squad/windows.h"
#include "text/tokenizer.h"

namespace {

using namespace bertrand;

const Tokenizer& tokenizer() {
  static const Tokenizer made(std::make_shared<const Vocabulary>(Vocabulary::parse(
                                  "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\nc\n.\n", "fuzz")),
                              TokenizerOptions());
  return made;
}

void check(const Dataset& dataset, const Window& window, const WindowOptions& options) {
  const size_t document = window.words.size();
  const bool sound = window.example < dataset.examples.size() &&
                     window.ids.size() <= options.max_seq_length && document > 0 &&
                     window.document_begin + document + 1 == window.ids.size() &&
                     window.max_context.size() == document && window.start <= window.end &&
                     window.end < static_cast<int32_t>(window.document_begin + document);
  if (!sound) std::abort();
}

}  // namespace

/// Any bytes are either refused with an Error or make a data set of which sound windows are made.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const Dataset dataset =
        Dataset::parse(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
    for (const bool training : {false, true}) {
      WindowOptions options;
      options.training = training;
      options.max_seq_length = 12;
      options.max_query_length = 4;
      options.doc_stride = 3;
      const WindowSet windows = make_windows(dataset, tokenizer(), options, /*threads=*/1);
      for (size_t i = 0; i < windows.size(); ++i) check(dataset, windows[i], options);
    }
  } catch (const Error&) {
  }
  return 0;
}
