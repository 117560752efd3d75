// What the reference's scripts make of arguments, variables and files, with a stand-in for the
// program that writes down its arguments.
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scripts/script.h"

namespace bertrand::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Arguments : public testing::Test {
 protected:
  Arguments() {
    for (const char* name : {"env.sh", "models/scripts"}) {
      fs::create_directories(script_.path(name).parent_path());
      fs::copy(source_folder() / name, script_.path(name), fs::copy_options::recursive);
    }
    for (const char* name : {"model", "squad", "models/out"}) {
      fs::create_directory(script_.path(name));
    }
    for (const char* name : {"model/pytorch_model.bin", "model/config.json", "model/vocab.txt",
                             "squad/train-v1.1.json", "squad/dev-v1.1.json"}) {
      script_.write(name, "");
    }
    stand_in("echo \"$@\"");
  }

  void stand_in(const std::string& line) const {
    script_.write("stand-in", "#!/usr/bin/env bash\n" + line + "\n");
    fs::permissions(script_.path("stand-in"), fs::perms::owner_all);
  }

  /// run_squad.sh with these of its arguments, the others as the one-key scripts have them.
  struct Given {
    std::string checkpoint = "$PWD/model/pytorch_model.bin";
    std::string precision = "fp32";
    int cards = 4;
    std::string squad = "$PWD/squad";
    std::string mode = "train-eval";
    int hvd = -1;
  };
  Outcome run(const Given& given, const std::string& variables = "",
              const std::string& before = "") const {
    return script_.sh("export BERTRAND=$PWD/stand-in BERT_MODEL= " + variables + "\n" + before +
                      " bash models/scripts/run_squad.sh \"" + given.checkpoint + "\" 2 4 3e-5 " +
                      given.precision + " " + std::to_string(given.cards) + " 1 \"" + given.squad +
                      "\" no/vocab.txt out \"" + given.mode + "\" no/bert_config.json -1 -1 " +
                      std::to_string(given.hvd) + " O0 mlu");
  }

  Script script_;
};

TEST_F(Arguments, ProcessesAreThoseOfHorovodUnlessThereIsOneCard) {
  EXPECT_THAT(run({.cards = 4}).out,
              AllOf(HasSubstr("launch --nproc 4 -- "), HasSubstr("--hvd=-1")));
  EXPECT_THAT(run({.cards = 8, .hvd = 4}).out,
              AllOf(HasSubstr("launch --nproc 4 -- "), HasSubstr("--hvd=4")));
  const auto alone = AllOf(Not(HasSubstr("launch")), HasSubstr("--hvd=-1 "));
  EXPECT_THAT(run({.cards = 1, .hvd = 4}).out, alone);
  EXPECT_THAT(run({.cards = 8, .hvd = 4}, "BERTRAND_CARDS=1").out, alone);
  EXPECT_THAT(run({.cards = 4, .mode = "eval", .hvd = 4}).out, alone);
  EXPECT_THAT(run({.mode = "prediction"}).out, alone);
}

TEST_F(Arguments, CardsAndProcessesAreNumbersFromOneOn) {
  for (const char* cards : {"x", "0", "-1", "4x"}) {
    const Outcome outcome = run({}, std::string("BERTRAND_CARDS=") + cards);
    EXPECT_EQ(outcome.status, 1) << cards;
    EXPECT_EQ(outcome.out, "") << cards;
    EXPECT_THAT(outcome.err, HasSubstr(std::string("[ERROR] num_gpu is \"") + cards + "\": give"));
  }
  EXPECT_THAT(run({.cards = 0}).err, HasSubstr("[ERROR] num_gpu is \"0\""));
  EXPECT_THAT(run({.hvd = 0}).err, HasSubstr("[ERROR] hvd is \"0\": give"));
}

TEST_F(Arguments, Fp16IsWhatItIsInTheReference) {
  const Outcome outcome = run({.precision = "fp16"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, Not(HasSubstr("--fp16")));
  EXPECT_THAT(outcome.err, HasSubstr("computed in fp32, as in the reference"));
  EXPECT_THAT(run({.precision = "bf16"}).err,
              HasSubstr("precision bf16 is not known: computed in fp32, as in the reference"));
  EXPECT_EQ(run({.precision = "fp32"}).err.find("precision"), std::string::npos);
  EXPECT_THAT(run({.precision = "pyamp"}).out, HasSubstr(" --pyamp "));
  EXPECT_THAT(run({.precision = "cnmix"}).out, HasSubstr(" --cnmix --opt_level=O0 "));
}

TEST_F(Arguments, AModeThatIsNotKnownIsTold) {
  const auto all =
      AllOf(HasSubstr(" --do_train "), HasSubstr(" --do_predict "), HasSubstr(" --do_eval "));
  for (const char* mode : {"train-eval", "train eval", "train_eval"}) {
    const Outcome outcome = run({.mode = mode});
    EXPECT_THAT(outcome.out, all) << mode;
    EXPECT_THAT(outcome.err, Not(HasSubstr("is not known"))) << mode;
  }
  const Outcome outcome = run({.mode = "predict"});
  EXPECT_THAT(outcome.out, all);
  EXPECT_THAT(outcome.err,
              HasSubstr("mode predict is not known: trains, answers and evaluates, as in the "
                        "reference; give train, eval, prediction or train-eval.\n"));
}

TEST_F(Arguments, SaysWhereAFileWasLookedFor) {
  const std::string folder = script_.path("models").string();
  const auto fails = [&](const Given& given) {
    const Outcome outcome = run(given);
    EXPECT_EQ(outcome.status, 1);
    EXPECT_EQ(outcome.out, "");
    return outcome.err;
  };
  EXPECT_THAT(
      fails({.checkpoint = "model/pytorch_model.bin"}),
      HasSubstr("[ERROR] model/pytorch_model.bin: there is no such checkpoint in " + folder +
                ", where relative paths begin; give a whole path; set "
                "BERT_MODEL"));
  EXPECT_THAT(fails({.checkpoint = "/nowhere/model.pt"}),
              HasSubstr("[ERROR] /nowhere/model.pt: there is no such checkpoint; set BERT_MODEL"));
  EXPECT_THAT(fails({.squad = "squad"}),
              HasSubstr("squad/dev-v1.1.json: there is no such file in " + folder + ", where"));
  const std::string lacking = fails({.squad = "/nowhere", .mode = "train"});
  EXPECT_THAT(lacking, AllOf(HasSubstr("[ERROR] /nowhere/train-v1.1.json: there is no such file; "
                                       "set SQUAD_DIR (env.sh)"),
                             HasSubstr("squad_download.sh")));
  fs::remove(script_.path("squad/train-v1.1.json"));
  EXPECT_EQ(run({.mode = "eval"}).status, 0);
}

TEST_F(Arguments, TakesModelFoldersAndEitherConfig) {
  const std::string model = script_.path("model").string();
  for (const std::string& checkpoint : {model, model + "/pytorch_model.bin"}) {
    const Outcome outcome = run({.checkpoint = checkpoint});
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.out, AllOf(HasSubstr("--init_checkpoint=" + checkpoint + " "),
                                   HasSubstr("--vocab_file=" + model + "/vocab.txt "),
                                   HasSubstr("--config_file=" + model + "/config.json ")));
    EXPECT_THAT(outcome.err, HasSubstr("There is no no/vocab.txt: taking " + model));
  }
  script_.write("model/bert_config.json", "");
  EXPECT_THAT(run({}).out, HasSubstr("--config_file=" + model + "/bert_config.json "));
}

TEST_F(Arguments, ASnapshotIsNotThrownAway) {
  script_.write("models/out/logfile.txt", "before\n");
  for (const char* snapshot : {"models/out/snapshot", "models/out/snapshot.old-7"}) {
    fs::create_directory(script_.path(snapshot));
    const Outcome refused = run({});
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.err, AllOf(HasSubstr("out holds the snapshot of a run that was stopped"),
                                   HasSubstr("BERTRAND_RESUME=1"), HasSubstr("BERTRAND_RESUME=0")));
    EXPECT_EQ(script_.read("models/out/logfile.txt"), "before\n");
    EXPECT_THAT(run({}, "BERTRAND_RESUME=1").out, HasSubstr(" --resume "));
    EXPECT_THAT(script_.read("models/out/logfile.txt"),
                AllOf(HasSubstr("before\n"), HasSubstr(" --resume ")));
    EXPECT_THAT(run({}, "BERTRAND_RESUME=0").out, HasSubstr(" --overwrite "));
    EXPECT_THAT(script_.read("models/out/logfile.txt"), Not(HasSubstr("before\n")));
    EXPECT_EQ(run({.mode = "eval"}).status, 0);
    fs::remove(script_.path(snapshot));
    script_.write("models/out/logfile.txt", "before\n");
  }
  EXPECT_THAT(run({}, "BERTRAND_RESUME=1").out, Not(HasSubstr("--resume")));  // none was stopped
}

TEST_F(Arguments, TheLogHoldsWhatIsSaidAfterASignal) {
  stand_in(
      "trap 'echo a snapshot is written; exit 143' INT TERM HUP\n"
      "echo begun; until grep -q begun out/logfile.txt; do sleep 0.01; done\n"
      "kill -$SIGNAL 0\nexit 1");
  for (const char* signal : {"TERM", "HUP", "INT"}) {
    fs::remove(script_.path("models/out/logfile.txt"));
    const Outcome outcome = run({.cards = 1}, std::string("SIGNAL=") + signal, "setsid --wait");
    EXPECT_EQ(outcome.status, 143) << signal;
    EXPECT_THAT(script_.read("models/out/logfile.txt"), HasSubstr("a snapshot is written"))
        << signal;
  }
}

/// With a stand-in for docker that has no service to ask.
TEST_F(Arguments, RunDockerTellsThatDockerDoesNotAnswer) {
  stand_in("echo 'Cannot connect to the Docker daemon' >&2; exit 1");
  fs::create_directory(script_.path("bin"));
  fs::rename(script_.path("stand-in"), script_.path("bin/docker"));
  const Outcome outcome =
      script_.sh("PATH=$PWD/bin:$PATH bash '" + (source_folder() / "run_docker.sh").string() + "'");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.err,
            "Cannot connect to the Docker daemon\nrun_docker.sh: docker does not answer (see the "
            "line above); begin its service, or run this as one who may use it.\n");
}

TEST_F(Arguments, EnvIsReadAgainAfterItWasEdited) {
  const Outcome outcome = script_.sh(
      "set -eu; unset BERT_MODEL BERT_INFER_MODEL; export SQUAD_DIR=/own\n"
      "source ./env.sh; echo 1 $BERT_MODEL $SQUAD_DIR\n"
      "sed -i 's#/path/to/pytorch_model.pt#/first/model.pt#; s#/path/to/squad#/other#' env.sh\n"
      "source ./env.sh; echo 2 $BERT_MODEL $SQUAD_DIR\n"
      "sed -i 's#/first/#/second/#' env.sh\n"
      "bash -c 'source ./env.sh; echo 3 $BERT_MODEL'\n"
      "BERT_MODEL=/own/model.pt; source ./env.sh; echo 4 $BERT_MODEL\n"
      "BERT_MODEL=; source ./env.sh; echo 5 $BERT_MODEL $BERT_INFER_MODEL\n");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out,
            "1 /path/to/pytorch_model.pt /own\n2 /first/model.pt /own\n3 /second/model.pt\n"
            "4 /own/model.pt\n5 /second/model.pt /path/to/output/pytorch_model.bin\n");
}

}  // namespace
}  // namespace bertrand::test
