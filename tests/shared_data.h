#pragma once

#include <cstdlib>
#include <filesystem>

#include "places.h"

namespace bertrand::test {

/// The folder with the real data sets, vocabularies and golden files: $BERTRAND_SHARED, or
/// ../shared from the project's root. Empty where there is none; see BERTRAND_NEEDS_SHARED.
inline std::filesystem::path shared_folder() {
  const char* set = std::getenv("BERTRAND_SHARED");
  const std::filesystem::path folder =
      set != nullptr ? std::filesystem::path(set)
                     : std::filesystem::path(kSourceFolder).parent_path() / "shared";
  return std::filesystem::exists(folder / "data") ? folder : std::filesystem::path();
}

/// The project's own root, for fixtures.
inline std::filesystem::path source_folder() { return kSourceFolder; }

}  // namespace bertrand::test

/// First line of a test that needs a file of the shared folder: skips it where the file is absent.
#define BERTRAND_NEEDS_SHARED(relative)                                       \
  if (bertrand::test::shared_folder().empty() ||                              \
      !std::filesystem::exists(bertrand::test::shared_folder() / (relative))) \
  GTEST_SKIP() << "no " << (relative) << " in the shared folder (set BERTRAND_SHARED)"
