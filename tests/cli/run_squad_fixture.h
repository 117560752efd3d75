#pragma once

#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "checkpoint/made_google_model.h"
#include "cli/program.h"
#include "predict/small_reader.h"

namespace bertrand::test {

inline constexpr const char* kData = R"({"version": "1.1", "data": [{"paragraphs": [
  {"context": "at night the owls hunt mice and voles.", "qas": [
    {"id": "a", "question": "what?", "answers": [{"text": "mice", "answer_start": 23}]},
    {"id": "b", "question": "when?", "answers": [{"text": "night", "answer_start": 3}]},
    {"id": "c", "question": "who?", "answers": [{"text": "the owls", "answer_start": 9}]}]},
  {"context": "the red fox ran off.", "qas": [
    {"id": "d", "question": "who?", "answers": [{"text": "the red fox", "answer_start": 0}]}]}]}]})";

inline constexpr const char* kTrain = "--do_train --train_file data.json --train_batch_size 2 ";
inline constexpr const char* kPredict = "--do_predict --predict_file=data.json --do_eval ";

/// Every tensor of a checkpoint, as bytes.
inline std::map<std::string, std::string> tensors_of(const std::filesystem::path& path) {
  const auto checkpoint = open_checkpoint(path);
  std::map<std::string, std::string> tensors;
  std::vector<std::byte> buffer;
  for (size_t i = 0; i < checkpoint->tensors().size(); ++i) {
    const auto bytes = checkpoint->read(i, buffer);
    tensors[checkpoint->tensors()[i].name] = {reinterpret_cast<const char*>(bytes.data()),
                                              bytes.size()};
  }
  return tensors;
}

/// A converted checkpoint of Google's, four questions, and run_squad on them.
class RunSquad : public testing::Test {
 protected:
  RunSquad() {
    write_google_model(program_.path("google"), small_reader_config(), kSmallWords);
    program_.write("data.json", kData);
    EXPECT_EQ(program_
                  .run("convert --tf_checkpoint_path google/bert_model.ckpt --bert_config_file "
                       "google/bert_config.json --pytorch_dump_path model.pt")
                  .status,
              0);
  }

  static std::string command(const std::string& more) {
    return "run_squad --bert_model=bert-base-cased --init_checkpoint=model.pt "
           "--config_file bert_config.json --vocab_file vocab.txt --max_query_length 8 "
           "--json-summary summary.json --device cpu --threads 1 " +
           more;
  }
  Outcome run(const std::string& more, const std::string& before = "") const {
    return program_.run(command(more), before);
  }

  nlohmann::json json(const std::string& name) const {
    return nlohmann::json::parse(program_.read(name));
  }
  bool exists(const std::string& name) const {
    return std::filesystem::exists(program_.path(name));
  }

  /// The data of every line of the summary that has one of this name.
  std::vector<nlohmann::json> summary(const std::string& name) const {
    std::vector<nlohmann::json> found;
    std::istringstream lines(program_.read("summary.json"));
    for (std::string line; std::getline(lines, line);) {
      EXPECT_THAT(line, testing::StartsWith("DLLL {"));
      const nlohmann::json entry = nlohmann::json::parse(line.substr(5));
      EXPECT_EQ(entry.at("type"), "LOG");
      if (entry.at("data").contains(name)) found.push_back(entry.at("data"));
    }
    return found;
  }

  Program program_;
};

}  // namespace bertrand::test
