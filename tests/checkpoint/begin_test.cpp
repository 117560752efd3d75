#include <gtest/gtest.h>
#include <cmath>
#include "checkpoint/model_folder.h"
#include "checkpoint/safetensors.h"
#include "shared_data.h"
namespace bertrand {
TEST(ModelFolder, OpensShared) {
  BERTRAND_NEEDS_SHARED("models");
  for (const char* name : {"models/all-minilm-l6-v2", "models/minilm-squad-reference", "data/golden/bert-tiny"}) {
    auto folder = ModelFolder::open(test::shared_folder() / name);
    auto read = folder.parameters(1);
    double sum = 0; size_t n = 0;
    for (auto& info : bert_parameters(folder.config())) {
      std::vector<float> v(static_cast<size_t>(info.size()));
      read(info, v);
      for (float x : v) sum += std::abs(x);
      n += v.size();
    }
    std::printf("%s %zu %f head %d extra %zu lower %d\n", name, n, sum, folder.lacks_head(), folder.extra_tensors().size(), folder.lower_case().value_or(false));
    EXPECT_TRUE(std::isfinite(sum));
  }
}
}
