// Which of a pickle's tensors are the model's, and what may lie beside them.
#include "checkpoint/torch_model.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/fixtures.h"
#include "checkpoint/made_torch.h"
#include "checkpoint/torch_gather.h"
#include "checkpoint/torch_state.h"

namespace bertrand {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using namespace std::string_literals;

constexpr uint64_t kStorage = 24;  // bytes

TorchState state_of(const std::string& pickle) {
  Cursor cursor(test::as_bytes(pickle), "x.pt");
  const auto objects = PickledObjects::parse(cursor, "x.pt");
  return find_state(
      objects, "x.pt", [](const std::string&) { return kStorage; }, kStorage);
}

std::vector<std::string> names_of(const std::vector<TensorInfo>& tensors) {
  std::vector<std::string> names;
  names.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) names.push_back(tensor.name);
  return names;
}

std::string dictionary(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string text = "}";
  for (const auto& [key, value] : items) {
    text.append("S'").append(key).append("'\n").append(value).append("s");
  }
  return text;
}

std::string tensor(std::vector<uint64_t> shape = {6}, std::vector<uint64_t> strides = {1}) {
  return test::pickled(test::MadeTensor{"", "0", 6, 0, std::move(shape), std::move(strides)});
}

/// A state dictionary of two tensors of a BERT; of the second only where `two`.
std::string model(bool two = true) {
  std::vector<std::pair<std::string, std::string>> items = {{"qa_outputs.bias", tensor()}};
  if (two) items.emplace_back("bert.pooler.dense.bias", tensor());
  return dictionary(items);
}

TEST(TorchModel, IsTheDictionaryWithTheMostNamesOfABert) {
  const auto other = dictionary({{"x", tensor()}, {"y", tensor()}, {"z", tensor()}});
  for (const auto& [file, others] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {dictionary({{"model_state_dict", model()}, {"loss", tensor({}, {})}}), {"loss"}},
           {dictionary({{"rng", tensor()}, {"model", model()}}), {"rng"}},
           {dictionary({{"state_dict", "}"}, {"model", model()}}), {}},
           {dictionary({{"model", other}, {"state_dict", model()}}),
            {"model.x", "model.y", "model.z"}},
           {dictionary({{"state_dict", model(false)}, {"mine", model()}}),
            {"state_dict.qa_outputs.bias"}},
           {"]"s + dictionary({{"step", "I1\n"}}) + "a" + model() + "a", {}}}) {
    const TorchState state = state_of(file + ".");
    EXPECT_THAT(names_of(state.infos), ElementsAre("qa_outputs.bias", "bert.pooler.dense.bias"));
    EXPECT_THAT(names_of(state.others), testing::UnorderedElementsAreArray(others));
  }
}

TEST(TorchModel, IsNotAnOptimizersState) {
  const std::vector<std::string> kinds = {"momentum", "optimizer", "exp_avg_sq", "Adam", "m"};
  for (const std::string& key : kinds) {
    // Also where the optimizer knows more parameters than the model.
    const TorchState state =
        state_of(dictionary({{key, model()}, {"weights", model(false)}}) + ".");
    EXPECT_THAT(names_of(state.infos), ElementsAre("qa_outputs.bias")) << key;
    EXPECT_THAT(names_of(state.others),
                ElementsAre(key + ".qa_outputs.bias", key + ".bert.pooler.dense.bias"));
  }
  const TorchState nested = state_of(
      dictionary({{"optimizer", dictionary({{"model", model()}})}, {"net", model()}}) + ".");
  EXPECT_THAT(names_of(nested.others), ElementsAre("optimizer.model.qa_outputs.bias",
                                                   "optimizer.model.bert.pooler.dense.bias"));
}

TEST(TorchModel, LiesUnderTheLikeliestKeyWhereSeveralHaveAsMany) {
  const auto other_of = [](const std::string& file) {
    return names_of(state_of(file + ".").others).at(0);
  };
  EXPECT_EQ(other_of(dictionary({{"best", model(false)}, {"model", model(false)}})),
            "best.qa_outputs.bias");
  EXPECT_EQ(other_of(dictionary({{"net", model(false)}, {"state_dict", model(false)}})),
            "net.qa_outputs.bias");
  EXPECT_EQ(other_of(dictionary({{"ema", model(false)}, {"weights", model(false)}})),
            "ema.qa_outputs.bias");
  EXPECT_EQ(other_of(dictionary({{"b", dictionary({{"x", tensor()}})},
                                 {"model", dictionary({{"net", dictionary({{"y", tensor()}})}})}})),
            "b.x");
}

TEST(TorchState, TellsOfAnotherModel) {
  const auto notes = [](const std::string& pickle) { return state_of(pickle + ".").notes; };
  const std::string nested = dictionary({{"model", model()}});
  EXPECT_THAT(notes(dictionary({{"best", nested}, {"last", nested}})),
              ElementsAre(HasSubstr("that under \"best.model\" is read, not that under "
                                    "\"last.model\"; to have another")));
  EXPECT_THAT(notes(dictionary({{"model", model()}, {"optimizer", model()}})), IsEmpty());
  EXPECT_THAT(notes(dictionary({{"model", model()}, {"half", model(/*two=*/false)}})), IsEmpty());
}

TEST(TorchState, TellsWhatLiesDeep) {
  std::string deep = dictionary({{"x", tensor()}});
  std::string name = "x";
  for (int i = 0; i < 30; ++i) {
    const std::string key(20, static_cast<char>('a' + i % 26));
    deep = dictionary({{key, deep}});
    name.insert(0, key).insert(key.size(), 1, '.');
  }
  const TorchState state = state_of(dictionary({{"model", model()}, {"state", deep}}) + ".");
  EXPECT_THAT(names_of(state.others), ElementsAre(("state." + name).substr(0, 512) + "..."));
}

TEST(TorchState, LooksAtEachEntryOnce) {
  constexpr size_t kMany = 3000;
  std::string inner = "Nq\0"s + "0}q\1(";
  std::string outer = "}(";
  for (size_t i = 0; i < kMany; ++i) {
    inner += "h\0h\0"s;
    outer += "h\0h\1"s;
  }
  const std::string beside = inner + "u0" + outer + "u";
  const TorchState state = state_of("]"s + beside + "a" + model() + "a.");
  EXPECT_THAT(state.others, IsEmpty());
  EXPECT_LT(state.steps, 5 * kMany);
}

TEST(TorchState, TakesWhatTorchCallsSafe) {
  const std::string beside =
      "S'milestones'\nccollections\nCounter\n}I3\nI1\ns\x85Rs"
      "S'bytes'\nc_codecs\nencode\n(S'ab'\nS'latin1'\ntRs";
  const std::string tagged =
      "ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n"
      "_rebuild_tensor_v2\nctorch\nTensor\n" +
      tensor().substr(tensor().find('('));
  const std::string call = tagged.substr(0, tagged.size() - 1) + "}S'tag'\nI1\nstR";
  const TorchState state = state_of("}S'qa_outputs.bias'\n" + call + "s" + beside + ".");
  ASSERT_THAT(names_of(state.infos), ElementsAre("qa_outputs.bias"));
  EXPECT_THAT(state.infos[0].shape, ElementsAre(6));
}

TEST(TorchState, TakesTensorsOfDevicesThatHaveNoStorages) {
  const std::string wrapped = "ctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n(" +
                              tensor({2, 3}, {3, 1}) + "ctorch\nfloat32\nS'xla:0'\n\x89tR";
  const TorchState state = state_of("}S'qa_outputs.weight'\n" + wrapped + "s.");
  ASSERT_THAT(names_of(state.infos), ElementsAre("qa_outputs.weight"));
  EXPECT_THAT(state.infos[0].shape, ElementsAre(2, 3));
}

TEST(TorchState, KnowsTypesThatNoModelHas) {
  const auto with = [](const std::string& type) {
    return "}S'a'\nctorch._utils\n_rebuild_tensor_v3\n((S'storage'\nctorch\nUntypedStorage\nS'0'\n"
           "S'cpu'\nI16\ntQI0\n(I2\nt(I1\nt\x89}ctorch\n" +
           type + "\ntRs.";
  };
  for (const auto& [type, known] :
       {std::pair("uint16", DataType::u16), std::pair("float8_e4m3fn", DataType::f8_e4m3),
        std::pair("float8_e5m2", DataType::f8_e5m2),
        std::pair("float8_e4m3fnuz", DataType::f8_e4m3fnuz),
        std::pair("float8_e5m2fnuz", DataType::f8_e5m2fnuz),
        std::pair("float8_e8m0fnu", DataType::f8_e8m0),
        std::pair("float4_e2m1fn_x2", DataType::f4_x2), std::pair("complex32", DataType::c32),
        std::pair("complex64", DataType::c64)}) {
    EXPECT_EQ(state_of(with(type)).infos.at(0).type, known);
  }
}

TEST(TorchState, ReadsWhatIsExpanded) {
  const TorchState state = state_of("}S'a'\n" + tensor({3, 2}, {0, 1}) + "s.");
  const std::vector<float> stored = {1, 2};
  std::vector<float> values(6);
  ASSERT_EQ(state.tensors[0].end - state.tensors[0].begin, 8U);
  EXPECT_FALSE(is_contiguous(state.infos[0], state.tensors[0]));
  gather(state.infos[0], state.tensors[0], std::as_bytes(std::span(stored)), /*big_endian=*/false,
         std::as_writable_bytes(std::span(values)));
  EXPECT_THAT(values, ElementsAre(1, 2, 1, 2, 1, 2));
}

TEST(TorchState, GathersFromAnyElementOn) {
  std::vector<float> stored(120);
  std::iota(stored.begin(), stored.end(), 0.0F);
  const TorchTensor tensor{"0", 480, {2, 40, 6}, 0, 480};
  const TensorInfo info{"a", DataType::f32, {3, 3, 5}};
  const auto from = std::as_bytes(std::span(stored));
  std::vector<float> whole(45);
  gather(info, tensor, from, /*big_endian=*/false, std::as_writable_bytes(std::span(whole)));
  EXPECT_EQ(whole[5], 40);
  EXPECT_EQ(whole[16], 8);
  for (size_t first = 0; first < whole.size(); ++first) {
    for (size_t count = 1; first + count <= whole.size(); ++count) {
      std::vector<float> part(count);
      gather(info, tensor, from, /*big_endian=*/false, std::as_writable_bytes(std::span(part)),
             static_cast<int64_t>(first));
      EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + std::ptrdiff_t(first)));
    }
  }
}

TEST(TorchState, TurnsTheHalvesOfBigEndianComplexNumbers) {
  const TensorInfo info{"a", DataType::c64, {1}};
  const TorchTensor tensor{"0", 8, {1}, 0, 8};
  const std::string stored = "\1\2\3\4\5\6\7\x08";
  std::string values(8, '\0');
  gather(info, tensor, test::as_bytes(stored), /*big_endian=*/true,
         std::as_writable_bytes(std::span(values)));
  EXPECT_EQ(values, "\4\3\2\1\x08\7\6\5");
  gather({"a", DataType::c32, {2}}, tensor, test::as_bytes(stored), /*big_endian=*/true,
         std::as_writable_bytes(std::span(values)));
  EXPECT_EQ(values, "\2\1\4\3\6\5\x08\7");
}

TEST(Pickle, KeepsALongHistoryInLittleMemory) {
  const std::string loss = "G\x3f\xe0\0\0\0\0\0\0"s;
  const auto history = [&](size_t count) {
    std::string text = "}S'losses'\n](";
    for (size_t i = 0; i < count; ++i) text += loss;
    return text + "esS'a'\n" + tensor() + "s.";
  };
  EXPECT_THAT(names_of(state_of(history(1'000'000)).infos), ElementsAre("a"));
  EXPECT_THAT(test::error_of(3, [&] { state_of(history(3'000'000)); }),
              HasSubstr("more objects than the 16 MB of them that are read"));
}

TEST(Pickle, TellsOfTheProtocolThatLosesTensors) {
  EXPECT_THAT(test::error_of(3, [] { state_of("(dp0\nVa\np1\n(P('storage', 6, None)\n."); }),
              HasSubstr("pickle_protocol=0"));
}

}  // namespace
}  // namespace bertrand
