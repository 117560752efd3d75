// The reference's scripts, in a folder that looks like a clone, with the program of this build.
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "checkpoint/made_google_model.h"
#include "places.h"
#include "scripts/script.h"

namespace bertrand::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using Json = nlohmann::json;

/// What the scripts need is made once: they only read it.
class OneKey : public testing::Test {
 protected:
  OneKey() {
    for (const char* name : {"env.sh", "run_scripts", "models/scripts"}) {
      fs::create_directories(script_.path(name).parent_path());
      fs::copy(source_folder() / name, script_.path(name), fs::copy_options::recursive);
    }
    BertConfig config;
    config.hidden_size = 8;
    config.num_hidden_layers = 1;
    config.num_attention_heads = 2;
    config.intermediate_size = 16;
    config.max_position_embeddings = 384;
    write_google_model(
        script_.path("google"), config,
        script_.read((source_folder() / "models/minilm-l6-squad/vocab.txt").string()));
    fs::create_directory(script_.path("squad"));
    fs::copy(source_folder() / "data/sample/train.json", script_.path("squad/train-v1.1.json"));
    fs::copy(source_folder() / "data/sample/dev.json", script_.path("squad/dev-v1.1.json"));
    const Outcome converted =
        script_.sh(std::string("mkdir weights && ") + kProgram +
                   " convert --tf_checkpoint_path google/bert_model.ckpt --bert_config_file "
                   "google/bert_config.json --pytorch_dump_path weights/pytorch_model.pt");
    EXPECT_EQ(converted.status, 0) << converted.err;
  }

  /// On the CPU, in few steps.
  Outcome run(const std::string& line, const std::string& variables) const {
    return script_.sh(std::string("export BERTRAND=") + kProgram +
                      " BERTRAND_DEVICE=cpu BERTRAND_MAX_STEPS=3 " + variables +
                      " BERT_MODEL=$PWD/weights/pytorch_model.pt "
                      "BERT_INFER_MODEL=$PWD/models/output/pytorch_model.bin SQUAD_DIR=$PWD/squad\n"
                      "source env.sh; bash " +
                      line);
  }

  Json json(const std::string& name) const { return Json::parse(script_.read(name)); }

  void expect_output() const {
    for (const char* name : {"pytorch_model.bin", "bert_config.json", "config.json", "logfile.txt",
                             "predictions.json", "nbest_predictions.json"}) {
      EXPECT_TRUE(script_.exists(std::string("models/output/") + name)) << name;
    }
    EXPECT_EQ(json("models/output/predictions.json").size(), 30U);
    EXPECT_EQ(json("models/output/run.json").at("steps"), 3);
    EXPECT_EQ(json("models/output/recipe.json").at("recipe"), "reference");
    EXPECT_THAT(script_.read("models/output/logfile.txt"),
                AllOf(HasSubstr(" e2e_train_time : "), HasSubstr(" F1 : ")));
    EXPECT_THAT(script_.read("models/results/dllogger.json"), HasSubstr("\"exact_match\""));
    const auto weights = open_checkpoint(script_.path("models/output/pytorch_model.bin"));
    EXPECT_EQ(weights->kind(), "PyTorch (zip)");
    EXPECT_EQ(weights->tensors().size(), 5U + 16U + 2U + 2U);  // pooler and span head at the end
  }

  Script script_;
};

TEST_F(OneKey, TrainsAndAnswersInOneProcess) {
  const Outcome trained = run("run_scripts/BERT_FP32_2E_4MLUs_Train.sh", "BERTRAND_CARDS=1");
  ASSERT_EQ(trained.status, 0) << trained.err << trained.out;
  EXPECT_THAT(trained.err, HasSubstr("There is no checkpoints/squad/vocab.txt: taking " +
                                     script_.path("weights/vocab.txt").string()));
  expect_output();
  const std::string answers = script_.read("models/output/predictions.json");
  fs::remove(script_.path("models/output/predictions.json"));
  // Answering is one process's work, however many cards the script names.
  const Outcome answered = run("run_scripts/BERT_Infer.sh", "");
  ASSERT_EQ(answered.status, 0) << answered.err << answered.out;
  EXPECT_EQ(script_.read("models/output/predictions.json"), answers);
  EXPECT_THAT(answered.out, HasSubstr(" exact_match : "));
}

TEST_F(OneKey, TrainsInFourProcesses) {
  const Outcome outcome = run("run_scripts/BERT_FP32_2E_4MLUs_Train.sh", "");
  EXPECT_THAT(outcome.out, HasSubstr(" launch --nproc 4 -- run_squad "));
  if (outcome.out.find("There is no libbertrand_torch.so") != std::string::npos) {
    EXPECT_EQ(outcome.status, 2);
    EXPECT_FALSE(script_.exists("models/output/pytorch_model.bin"));
    GTEST_SKIP() << "the plug-in, which joins processes, is not built";
  }
  ASSERT_EQ(outcome.status, 0) << outcome.err << outcome.out;
  expect_output();
}

TEST_F(OneKey, PrefersTheFilesOfTheReference) {
  fs::create_directories(script_.path("models/checkpoints/squad"));
  fs::rename(script_.path("weights/vocab.txt"), script_.path("models/checkpoints/squad/vocab.txt"));
  fs::rename(script_.path("weights/bert_config.json"),
             script_.path("models/checkpoints/squad/bert_config.json"));
  const Outcome outcome = run("run_scripts/BERT_FP32_2E_4MLUs_Train.sh", "BERTRAND_CARDS=1");
  EXPECT_EQ(outcome.status, 0) << outcome.err << outcome.out;
  EXPECT_EQ(outcome.err.find("taking"), std::string::npos) << outcome.err;
}

TEST_F(OneKey, GoesOnAfterItWasStopped) {
  // In a session of its own, so that a signal reaches all of it, as one from a terminal or a batch
  // system does.
  const std::string script =
      "models/scripts/run_squad.sh $BERT_MODEL 1000 4 3e-5 fp32 1 1 $SQUAD_DIR v output train b";
  const Outcome stopped =
      run("-c '\n"
          "setsid bash " +
              script +
              " & run=$!\n"
              "for i in $(seq 3000); do\n"
              "  grep -q step\\\", models/output/events.jsonl && break; sleep 0.01\n"
              "done; kill -TERM -- -$run; wait $run'",
          "BERTRAND_MAX_STEPS=600");
  EXPECT_TRUE(script_.exists("models/output/snapshot")) << stopped.err << stopped.out;
  EXPECT_THAT(script_.read("models/output/logfile.txt"), HasSubstr("--resume goes on from"));
  const Outcome refused = run(script, "BERTRAND_MAX_STEPS=600");
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, HasSubstr("set BERTRAND_RESUME=1 to go on with it"));
  EXPECT_TRUE(script_.exists("models/output/snapshot"));
  const Outcome resumed = run(script, "BERTRAND_MAX_STEPS=600 BERTRAND_RESUME=1");
  EXPECT_EQ(resumed.status, 0) << resumed.err << resumed.out;
  EXPECT_THAT(resumed.out, HasSubstr("going on after"));
  EXPECT_EQ(json("models/output/run.json").at("steps"), 600);
  EXPECT_FALSE(script_.exists("models/output/snapshot"));
}

TEST_F(OneKey, SaysWhatIsMissing) {
  const std::string train = "bash run_scripts/BERT_FP32_2E_4MLUs_Train.sh";
  EXPECT_THAT(script_.sh("env -u BERT_MODEL " + train).err, HasSubstr("Please set BERT_MODEL"));
  EXPECT_THAT(script_.sh("BERT_MODEL=x env -u SQUAD_DIR " + train).err,
              HasSubstr("Please set SQUAD_DIR"));
  const Outcome absent = run("run_scripts/BERT_Infer.sh", "");
  EXPECT_EQ(absent.status, 1);
  EXPECT_THAT(absent.err,
              HasSubstr("models/output/pytorch_model.bin: there is no such checkpoint"));
  fs::remove(script_.path("weights/vocab.txt"));
  const Outcome lost = run("run_scripts/BERT_FP32_2E_4MLUs_Train.sh", "BERTRAND_CARDS=1");
  EXPECT_EQ(lost.status, 1);
  EXPECT_THAT(lost.err, HasSubstr("checkpoints/squad/vocab.txt: there is no such file"));
}

}  // namespace
}  // namespace bertrand::test
