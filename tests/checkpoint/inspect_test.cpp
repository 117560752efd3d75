#include "checkpoint/inspect.h"

#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/fixtures.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/small_model.h"

namespace bertrand {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

using Tensors = std::vector<std::pair<TensorInfo, std::vector<float>>>;

class InspectTest : public ::testing::Test {
 protected:
  InspectTest() {
    std::filesystem::create_directory(folder_ / "model");
    write_model_folder(folder_ / "model", contents_);
  }

  void write(const std::string& name, const Tensors& tensors) const {
    std::vector<TensorInfo> infos;
    for (const auto& [info, values] : tensors) infos.push_back(info);
    SafetensorsWriter writer(folder_ / name, infos);
    for (const auto& [info, values] : tensors) writer.write(values);
    writer.commit();
  }

  Tensors small_tensors() const {
    Tensors tensors;
    for (const ParameterInfo& info : contents_.parameters) {
      tensors.push_back({{info.name, DataType::f32, info.shape}, test::small_values(info)});
    }
    return tensors;
  }

  Inspection look(const std::string& name, bool check = false) const {
    return inspect(folder_ / name, check);
  }

  test::TemporaryFolder folder_;
  ModelFolderContents contents_ = test::small_contents(folder_);
};

TEST_F(InspectTest, TellsWhatThereIsAndWhatIsWrong) {
  Inspection found = look("model", /*check=*/true);
  EXPECT_EQ(found.weights->kind(), "safetensors");
  EXPECT_TRUE(found.has_span_head);
  EXPECT_THAT(found.problems.lines(), IsEmpty());
  EXPECT_EQ(found.weights->tensors().size(), contents_.parameters.size());
  Tensors tensors = small_tensors();
  tensors[3].second[0] = std::numeric_limits<float>::quiet_NaN();
  tensors[4].first.name = "lm_head.bias";
  tensors.push_back({{"cls.predictions.bias", DataType::f32, {7}}, std::vector<float>(7)});
  write("model/model.safetensors", tensors);
  std::filesystem::remove(folder_ / "model/vocab.txt");
  found = look("model", /*check=*/true);
  EXPECT_THAT(found.problems.lines(), Contains(HasSubstr("1 of 6 values are not finite")));
  EXPECT_THAT(found.problems.lines(), Contains(HasSubstr("is missing")));
  EXPECT_THAT(found.problems.lines(), Contains(HasSubstr("holds no vocab.txt")));
  EXPECT_THAT(found.problems.lines(), Contains(HasSubstr("[7] and should have [9]")));
  EXPECT_THAT(found.notes.lines(), Contains("lm_head.bias has no place in a BERT."));
  EXPECT_THAT(look("model").problems.lines(), Not(Contains(HasSubstr("finite"))));
}

TEST_F(InspectTest, SaysInOneLineThatNothingIsOfABert) {
  write("model/model.safetensors", {{{"student.bert.x", DataType::f32, {1}}, {1}}});
  EXPECT_THAT(look("model").problems.lines(),
              ElementsAre(HasSubstr("none of its 1 names is one of a BERT: student.bert.x")));
}

TEST_F(InspectTest, AFileThatIsNotTheFoldersWeightsMayBeAPart) {
  write("model/logits.safetensors", {{{"logits", DataType::f32, {1}}, {1}}});
  Inspection found = look("model/logits.safetensors");
  EXPECT_THAT(found.problems.lines(), IsEmpty());
  EXPECT_THAT(found.notes.lines(), ElementsAre(HasSubstr("0 of the 39 parameters that")));

  Tensors half = small_tensors();
  half.resize(20);
  half[7].first.shape = {3, 2};
  half[7].second.resize(6);
  write("model/half.safetensors", half);
  found = look("model/half.safetensors");
  EXPECT_THAT(found.problems.lines(), ElementsAre(HasSubstr("has the shape [3,2]")));
  EXPECT_THAT(found.notes.lines(), ElementsAre(HasSubstr("20 of the 39 parameters that")));

  std::filesystem::remove(folder_ / "model/model.safetensors");
  std::filesystem::remove(folder_ / "model/logits.safetensors");
  EXPECT_THAT(look("model/half.safetensors").problems.lines(), SizeIs(1 + 17))
      << "the config describes no other weights; the span head is a note";
}

TEST_F(InspectTest, ADamagedOptimizerDoesNotHideTheRest) {
  test::write(folder_ / "model/optimizer.safetensors", "nonsense");
  const Inspection found = look("model", /*check=*/true);
  EXPECT_EQ(found.weights->tensors().size(), contents_.parameters.size());
  EXPECT_THAT(found.problems.lines(), ElementsAre(HasSubstr("optimizer.safetensors: ")));
}

TEST_F(InspectTest, ChecksTheValuesOfTheOptimizer) {
  write("model/optimizer.safetensors",
        {{{"first.x", DataType::f32, {2}}, {std::numeric_limits<float>::infinity(), 1}}});
  EXPECT_THAT(look("model").problems.lines(), IsEmpty());
  EXPECT_THAT(look("model", /*check=*/true).problems.lines(),
              ElementsAre("first.x: 1 of 2 values are not finite."));
}

TEST_F(InspectTest, OfARunWithoutWeightsItShowsTheSnapshot) {
  std::filesystem::create_directory(folder_ / "run");
  std::filesystem::rename(folder_ / "model", folder_ / "run/snapshot");
  test::write(folder_ / "run/snapshot/training.json", R"({"steps": 7})");
  const Inspection found = look("run");
  EXPECT_EQ(found.training, R"({"steps":7})");
  EXPECT_EQ(found.folder, folder_ / "run/snapshot");
  EXPECT_THAT(found.notes.lines(), ElementsAre(HasSubstr("run: the run is not complete")));
  EXPECT_THAT(found.problems.lines(), IsEmpty());
}

TEST_F(InspectTest, ATrainingJsonThatIsNoneIsAProblem) {
  std::string deep = "{\"a\":";
  deep.append(200'000, '[');
  for (const std::string& text : {std::string("[]"), std::string("{"), deep}) {
    test::write(folder_ / "model/training.json", text);
    EXPECT_THAT(look("model").problems.lines(), ElementsAre(HasSubstr("training.json: ")));
  }
}

TEST_F(InspectTest, CountsWhatIsTooMuchToSay) {
  Tensors tensors = small_tensors();
  for (int i = 0; i < 3000; ++i) {
    tensors.push_back({{fmt::format("x{}", i), DataType::f32, {1}}, {1}});
  }
  write("model/model.safetensors", tensors);
  const Inspection found = look("model");
  EXPECT_EQ(found.notes.count(), 3000U);
  EXPECT_THAT(found.notes.lines(), SizeIs(1001));
  EXPECT_EQ(found.notes.lines().back(), "and 2000 more");
}

}  // namespace
}  // namespace bertrand
