#include <algorithm>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/thread_pool.h"
#include "program.h"

namespace bertrand::test {
namespace {

using testing::HasSubstr;

constexpr const char* kQuick = "bench --quick --model minilm --threads 1 ";

TEST(BenchCommand, PrintsOneJsonObjectWithARowAWork) {
  const Program program;
  const Outcome outcome = program.run(std::string("--quiet ") + kQuick + "--json");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  const nlohmann::json json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["threads"], 1);
  std::vector<std::string> fp32;
  for (const nlohmann::json& row : json["rows"]) {
    EXPECT_EQ(row["model"], "minilm");
    EXPECT_EQ(row["threads"], 1);
    EXPECT_GT(row["fraction"].get<double>(), 0);
    EXPECT_GT(row["windows_per_second"].get<double>(), 0);
    EXPECT_GT(row["product_gflops"].get<double>(), 0);
    EXPECT_GT(row["fma_gflops"].get<double>(), 0);
    EXPECT_TRUE(row["void"].is_boolean());
    if (row["precision"] == "fp32") fp32.push_back(row["work"]);
    if (row["work"] == "inference") {
      EXPECT_GT(row["squad_dev_seconds"].get<double>(), 0);
    }
    if (row["work"] == "training") {
      EXPECT_GT(row["squad_epoch_seconds"].get<double>(), 0);
    }
    if (row["work"] == "latency-128") {
      EXPECT_LE(row["median_seconds"].get<double>(), row["percentile_99_seconds"].get<double>());
    }
  }
  for (const char* purpose : {"answers", "training"}) {
    EXPECT_THAT(json["auto"]["minilm"][purpose].get<std::string>(), testing::AnyOf("fp32", "bf16"));
  }
  // Of one thread there is no scaling.
  EXPECT_THAT(fp32, testing::ElementsAre("inference", "training", "latency-128", "latency-384"));
}

TEST(BenchCommand, PrintsATableOfAtMost80Columns) {
  const Program program;
  const Outcome outcome = program.run(kQuick);
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80U) << line;
  EXPECT_THAT(outcome.out, HasSubstr("1 thread;"));
  EXPECT_THAT(outcome.out, HasSubstr("inference"));
  EXPECT_THAT(outcome.out, HasSubstr("99th percentile"));
  EXPECT_THAT(outcome.out, HasSubstr("one epoch, about"));
  EXPECT_THAT(outcome.out, HasSubstr("--precision auto, minilm: "));
  EXPECT_THAT(outcome.err, HasSubstr("Measuring inference of minilm in fp32"));
}

TEST(BenchCommand, MeasuresOnlyTheWorkNamed) {
  const Program program;
  const Outcome outcome =
      program.run(std::string(kQuick) + "--json --precision fp32 --work training-4,inference");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const nlohmann::json rows = nlohmann::json::parse(outcome.out)["rows"];
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0]["work"], "inference");
  EXPECT_EQ(rows[1]["work"], "training-4");
}

TEST(BenchCommand, AutoMeasuresThePrecisionItChooses) {
  const Program program;
  const Outcome outcome =
      program.run(std::string(kQuick) + "--json --precision auto --work training,inference");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const nlohmann::json json = nlohmann::json::parse(outcome.out);
  ASSERT_EQ(json["rows"].size(), 2U);
  for (const nlohmann::json& row : json["rows"]) {
    const char* purpose = row["work"] == "training" ? "training" : "answers";
    EXPECT_EQ(row["precision"], json["auto"]["minilm"][purpose]);
  }
}

TEST(BenchCommand, ShowsWhatThreadsGain) {
  if (available_threads() < 2) GTEST_SKIP() << "needs two processors";
  const Program program;
  const std::string command = "bench --quick --model minilm --threads 2 --work scaling ";
  const Outcome outcome = program.run(command + "--json");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const nlohmann::json rows = nlohmann::json::parse(outcome.out)["rows"];
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0]["work"], "scaling");
  EXPECT_EQ(rows[0]["threads"], 2);
  EXPECT_GT(rows[0]["fraction"].get<double>(), 0);
  EXPECT_GT(rows[0]["scaling"].get<double>(), 0);
  EXPECT_THAT(program.run(command).out, HasSubstr("Threads, minilm: the share of R on 2 threads"));
  EXPECT_EQ(program.run(std::string(kQuick) + "--work scaling").status, 2);
}

TEST(BenchCommand, RefusesWhatItDoesNotKnow) {
  const Program program;
  for (const char* flags : {"--work sleeping", "--model bert-huge", "--threads 0", "surplus"}) {
    EXPECT_EQ(program.run(std::string("bench --quick ") + flags).status, 2) << flags;
  }
}

}  // namespace
}  // namespace bertrand::test
