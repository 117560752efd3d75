#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/run_squad_fixture.h"

namespace bertrand::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::json;

TEST_F(RunSquad, TheConvertedCheckpointHasConfigAndVocabularyBesideIt) {
  EXPECT_EQ(program_.read("bert_config.json"), program_.read("google/bert_config.json"));
  EXPECT_EQ(program_.read("vocab.txt"), program_.read("google/vocab.txt"));
  program_.write("vocab.txt", "other\n");
  const Outcome again = program_.run(
      "convert --tf_checkpoint_path google --bert_config_file google/bert_config.json "
      "--pytorch_dump_path again.pt");
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_THAT(again.err, HasSubstr("vocab.txt stays as it is"));
  EXPECT_EQ(program_.read("vocab.txt"), "other\n");
}

TEST_F(RunSquad, LeavesWhatTheReferenceLeaves) {
  const Outcome outcome =
      run(kTrain + std::string(kPredict) +
          "--output_dir run --num_train_epochs=3.0 --learning_rate 0.001 --log_freq 2 --seed 7");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  for (const char* name : {"pytorch_model.bin", "bert_config.json", "config.json", "vocab.txt",
                           "predictions.json", "nbest_predictions.json"}) {
    EXPECT_TRUE(exists(std::string("run/") + name)) << name;
  }
  for (const char* name : {"model.safetensors", "snapshot", "null_odds.json"}) {
    EXPECT_FALSE(exists(std::string("run/") + name)) << name;
  }
  EXPECT_EQ(json("run/bert_config.json"), json("google/bert_config.json"));
  EXPECT_EQ(json("run/predictions.json").size(), 4U);
  EXPECT_EQ(json("run/nbest_predictions.json").at("a").at(0).at("text"),
            json("run/predictions.json").at("a"));

  // A dictionary with the state dictionary under "model", the pooler as it was read.
  const std::string file = program_.read("run/pytorch_model.bin");
  EXPECT_THAT(file, HasSubstr(std::string("\x80\x02}X\x05\0\0\0modelccollections\n", 26)));
  const auto before = tensors_of(program_.path("model.pt"));
  const auto after = tensors_of(program_.path("run/pytorch_model.bin"));
  EXPECT_EQ(after.size(), before.size() + 2);  // the new span head
  EXPECT_TRUE(after.at("bert.pooler.dense.weight") == before.at("bert.pooler.dense.weight"));
  EXPECT_FALSE(after.at("bert.encoder.layer.0.output.dense.weight") ==
               before.at("bert.encoder.layer.0.output.dense.weight"));
  EXPECT_TRUE(after.contains("qa_outputs.weight"));
}

TEST_F(RunSquad, TellsItsFiguresAsTheReferenceDoes) {
  const Outcome outcome = run(kTrain + std::string(kPredict) +
                              "--output_dir run --num_train_epochs 3 --log_freq 2 --seed 7");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(summary("SEED").at(0).at("SEED"), 7);
  EXPECT_EQ(summary("training_samples").at(0).at("training_samples"), 4);
  EXPECT_EQ(summary("training_features").at(0).at("training_features"), 4);
  EXPECT_EQ(summary("train_batch_size").at(0).at("train_batch_size"), 2);
  EXPECT_EQ(summary("steps").at(0).at("steps"), 6);
  EXPECT_EQ(summary("step_loss").size(), 3U);  // two steps an epoch, the first of each is told
  const Json trained = summary("e2e_train_time").at(0);
  EXPECT_GT(trained.at("training_sequences_per_second"), 0);
  EXPECT_GT(trained.at("final_loss"), 0);
  EXPECT_GT(summary("e2e_inference_time").at(0).at("inference_sequences_per_second"), 0);
  const Json scores = summary("exact_match").at(0);
  EXPECT_THAT(outcome.out, AllOf(HasSubstr(" - PARAMETER SEED : 7"), HasSubstr(" F1 : "),
                                 HasSubstr(" - Training Epoch: 1 Training Iteration: 3 ")));

  const Json official =
      Json::parse(program_.run("evaluate --data data.json --predictions run/predictions.json").out);
  EXPECT_EQ(scores.at("exact_match"), official.at("exact_match"));
  EXPECT_EQ(scores.at("F1"), official.at("f1"));
}

TEST_F(RunSquad, IsTheRecipeReference) {
  ASSERT_EQ(program_.run("convert google folder --cased").status, 0);
  const Outcome trained = program_.run(
      "train --model folder --train data.json --out trained --recipe reference --batch-size 2 "
      "--epochs 2 --learning-rate 5e-5 --max-query-length 8 --threads 1");
  ASSERT_EQ(trained.status, 0) << trained.err;
  const Outcome outcome = run(kTrain + std::string("--output_dir run --num_train_epochs 2"));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(tensors_of(program_.path("run/pytorch_model.bin")) ==
              tensors_of(program_.path("trained/model.safetensors")));
  const Json recipe = json("run/recipe.json");
  EXPECT_EQ(recipe, json("trained/recipe.json"));
}

TEST_F(RunSquad, AnswersAsPredictDoes) {
  ASSERT_EQ(run(kTrain + std::string("--output_dir run --max_steps 2")).status, 0);
  const std::string flags =
      "run_squad --do_predict --predict_file data.json --init_checkpoint run/pytorch_model.bin "
      "--max_query_length 8 --json-summary s.json --output_dir ";
  const Outcome beside = program_.run(flags + "again");  // config and vocabulary from beside it
  ASSERT_EQ(beside.status, 0) << beside.err;
  EXPECT_FALSE(exists("again/pytorch_model.bin"));
  ASSERT_EQ(
      program_.run("predict --model run --data data.json --out plain --max-query-length 8").status,
      0);
  for (const std::string name : {"/predictions.json", "/nbest_predictions.json"}) {
    EXPECT_EQ(program_.read("again" + name), program_.read("plain" + name));
  }
}

TEST_F(RunSquad, OfAFlagGivenTwiceTheLastCounts) {
  const Outcome outcome = run(kTrain + std::string("--output_dir a --output_dir=run --max_steps 1 "
                                                   "--seed 3 --seed 8"));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(json("run/recipe.json").at("seed"), 8);
  EXPECT_FALSE(exists("a"));
}

TEST_F(RunSquad, DividesTheBatchAsTheReferenceDoes) {
  const Outcome outcome =
      run("--do_train --train_file=data.json --train_batch_size=5 --gradient_accumulation_steps=2 "
          "--max_steps=3 --num_train_epochs=9 --warmup_proportion=0.2 --output_dir=run");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const Json recipe = json("run/recipe.json");
  EXPECT_EQ(recipe.at("batch_size"), 4);  // two parts of 5 / 2 windows
  EXPECT_EQ(recipe.at("accumulation"), 2);
  EXPECT_EQ(recipe.at("max_steps"), 3);
  EXPECT_EQ(recipe.at("warmup"), 0.2);
  EXPECT_EQ(json("run/run.json").at("steps"), 3);
  EXPECT_EQ(summary("steps").at(0).at("steps"), 9);  // --max_steps leaves the schedule alone
}

TEST_F(RunSquad, TakesEveryFlagOfTheReference) {
  const Outcome outcome =
      run(kTrain + std::string(kPredict) +
          "--output_dir run --doc_stride 128 --predict_batch_size 4 --max_steps -1 --eval_iters -1 "
          "--n_best_size 5 --max_answer_length 7 --verbose_logging --no_cuda --do_lower_case "
          "--local_rank=-1 --fp16 --amp --cnmix --pyamp --opt_level O1 --loss_scale 0 --old "
          "--null_score_diff_threshold 0.0 --eval_script evaluate-v1.1.py --use_env --skip_cache "
          "--disable-progress-bar --cache_dir cache --hvd -1 --num_train_epochs 1.5");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  for (const char* flag : {"--bert_model", "--eval_script", "--loss_scale", "--verbose_logging",
                           "--cache_dir", "--skip_cache", "--use_env", "--old"}) {
    EXPECT_THAT(outcome.err, HasSubstr(std::string(flag) + " changes nothing: "));
  }
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("Mixed precision is for cards"),
                                 HasSubstr("whole passes are made"), Not(HasSubstr("step 1 of"))));
  EXPECT_EQ(json("run/run.json").at("steps"), 2);
  EXPECT_FALSE(exists("cache"));
  EXPECT_LE(json("run/nbest_predictions.json").at("a").size(), 5U);
}

TEST_F(RunSquad, RefusesWhatItDoesNotKnow) {
  const auto refused = [&](const std::string& flags) {
    const Outcome outcome = run(flags + " --do_train --train_file data.json --output_dir run");
    EXPECT_EQ(outcome.status, 2) << flags << ": " << outcome.err;
    EXPECT_FALSE(exists("run")) << flags;
    return outcome.err;
  };
  EXPECT_THAT(refused("--train-batch-size 3"),
              HasSubstr("no flag --train-batch-size; the nearest is --train_batch_size"));
  EXPECT_THAT(refused("--learning_rat=3"), HasSubstr("the nearest is --learning_rate."));
  EXPECT_THAT(refused("data.json"), HasSubstr("flags only"));
  EXPECT_THAT(refused("--train_batch_size 2 --gradient_accumulation_steps 4"),
              HasSubstr("--gradient_accumulation_steps: 4 is more than --train_batch_size 2"));
  EXPECT_THAT(refused("--do_eval"), HasSubstr("--do_eval needs --do_predict"));
  EXPECT_THAT(refused("--num_train_epochs 0.5"), HasSubstr("--num_train_epochs"));
  EXPECT_THAT(refused("--opt_level O4"), HasSubstr("--opt_level"));
  EXPECT_THAT(refused("--warmup_proportion -1"), HasSubstr("--warmup_proportion"));
  EXPECT_THAT(refused("--local_rank 1"), HasSubstr("bertrand launch"));
  EXPECT_THAT(refused("--hvd 4"), HasSubstr("bertrand launch"));
  EXPECT_EQ(run("--output_dir run").status, 2);
  EXPECT_EQ(run("--output_dir run --do_train").status, 2);
  EXPECT_EQ(run("--output_dir run --do_predict").status, 2);
  EXPECT_THAT(program_.run("run_squad --do_train --train_file data.json").err,
              HasSubstr("--output_dir is needed"));
  const Outcome several =
      run(kTrain + std::string("--output_dir run"),
          "WORLD_SIZE=4 RANK=0 LOCAL_RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=29500 "
          "BERTRAND_JOIN_TIMEOUT=1");
  EXPECT_EQ(several.status, 1);
  EXPECT_THAT(several.err, HasSubstr("did not come within 1 seconds"));
  EXPECT_FALSE(exists("run"));
}

TEST_F(RunSquad, ASummaryThatCannotBeWrittenIsAnError) {
  const std::string flags = kTrain + std::string("--output_dir run --json-summary ");
  const Outcome full = run(flags + "/dev/full");
  EXPECT_EQ(full.status, 1);
  EXPECT_THAT(full.err, HasSubstr("/dev/full: cannot be written (No space left"));
  const Outcome folder = run(flags + "google");
  EXPECT_EQ(folder.status, 1);
  EXPECT_THAT(folder.err, HasSubstr("--json-summary google: cannot be opened"));
  EXPECT_FALSE(exists("run"));
}

TEST_F(RunSquad, OfSeveralProcessesOneAnswers) {
  ASSERT_EQ(run(kTrain + std::string("--output_dir run --max_steps 1")).status, 0);
  const Outcome outcome = program_.run("launch --nproc 2 -- " +
                                       command(kPredict + std::string("--output_dir again "
                                                                      "--init_checkpoint run")));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(json("again/predictions.json").size(), 4U);
  EXPECT_EQ(summary("exact_match").size(), 1U);
  const size_t begins = outcome.out.find("PARAMETER SEED");
  EXPECT_NE(begins, std::string::npos);
  EXPECT_EQ(outcome.out.find("PARAMETER SEED", begins + 1), std::string::npos) << outcome.out;
}

TEST_F(RunSquad, EvalItersCutsTheQuestions) {
  const Outcome outcome =
      run(kTrain + std::string(kPredict) +
          "--output_dir run --max_steps 1 --predict_batch_size 1 --eval_iters 2");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const Json predictions = json("run/predictions.json");
  EXPECT_EQ(predictions.size(), 2U);
  EXPECT_TRUE(predictions.contains("a") && predictions.contains("b"));
  EXPECT_THAT(outcome.err, HasSubstr("2 questions are not answered"));
}

TEST_F(RunSquad, SkipCheckpointKeepsNoWeightsAndTouchesNone) {
  fs::create_directory(program_.path("run"));
  program_.write("run/pytorch_model.bin", "mine");
  const Outcome outcome =
      run(kTrain + std::string(kPredict) + "--output_dir run --max_steps 1 --skip_checkpoint");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(program_.read("run/pytorch_model.bin"), "mine");
  EXPECT_FALSE(exists("run/not-kept"));
  EXPECT_THAT(outcome.err, testing::Not(HasSubstr("not-kept")));
  EXPECT_EQ(json("run/predictions.json").size(), 4U);
}

TEST_F(RunSquad, AnswersNothingWhereNothingIsTheAnswer) {
  const Outcome outcome = run(kTrain + std::string(kPredict) +
                              "--output_dir run --max_steps 1 --version_2_with_negative "
                              "--null_score_diff_threshold -1000000");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(json("run/predictions.json").at("a"), "");
  EXPECT_EQ(json("run/null_odds.json").size(), 4U);
}

TEST_F(RunSquad, WeightsWithoutAPoolerGetANewOne) {
  ASSERT_EQ(program_.run("convert google/bert_model.ckpt bare.pt --heads none").status, 0);
  const Outcome outcome = program_.run(
      "run_squad --init_checkpoint bare.pt --config_file bert_config.json --vocab_file vocab.txt "
      "--max_query_length 8 --json-summary s.json --output_dir run --max_steps 1 " +
      std::string(kTrain));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("bare.pt has no pooler"));
  EXPECT_EQ(tensors_of(program_.path("run/pytorch_model.bin")).count("bert.pooler.dense.bias"), 1U);
}

TEST_F(RunSquad, TellsWhichFileIsMissing) {
  const Outcome outcome =
      program_.run("run_squad --init_checkpoint model.pt --vocab_file no.txt --output_dir run " +
                   std::string(kTrain));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("--vocab_file no.txt: there is no such file"));
  const Outcome absent = program_.run("run_squad --init_checkpoint no/model.pt --output_dir run " +
                                      std::string(kTrain));
  EXPECT_EQ(absent.status, 2);
  EXPECT_THAT(absent.err, HasSubstr("--config_file is needed"));
}

}  // namespace
}  // namespace bertrand::test
