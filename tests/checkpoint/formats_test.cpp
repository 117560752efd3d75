#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/fixtures.h"
#include "checkpoint/made_bundle.h"
#include "checkpoint/peak_memory.h"
#include "shared_data.h"

namespace bertrand {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

/// The small files that fuzz/make_corpus writes.
std::filesystem::path corpus(const std::string& name) {
  return test::source_folder() / "fuzz/corpus" / name;
}

std::vector<std::string> names_of(const std::vector<TensorInfo>& tensors) {
  std::vector<std::string> names;
  names.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) names.push_back(tensor.name);
  return names;
}

/// The values of a tensor whatever its type; small whole numbers.
std::vector<double> values_of(const Checkpoint& checkpoint, const std::string& name) {
  const auto names = names_of(checkpoint.tensors());
  const auto place =
      static_cast<size_t>(std::find(names.begin(), names.end(), name) - names.begin());
  if (place == names.size()) {
    ADD_FAILURE() << "no " << name;
    return {};
  }
  const TensorInfo& info = checkpoint.tensors()[place];
  std::vector<std::byte> buffer;
  const auto bytes = checkpoint.read(place, buffer);
  std::vector<double> values(static_cast<size_t>(info.size()));
  EXPECT_EQ(bytes.size(), info.bytes());
  if (info.type == DataType::i64) {
    for (size_t i = 0; i < values.size(); ++i) {
      int64_t value = 0;
      std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
      values[i] = static_cast<double>(value);
    }
    return values;
  }
  std::vector<std::byte> joined;
  checkpoint.read_parts(place, [&](std::span<const std::byte> part) {
    joined.insert(joined.end(), part.begin(), part.end());
  });
  EXPECT_THAT(joined, ::testing::ElementsAreArray(bytes.begin(), bytes.end()));
  std::vector<float> floats(values.size());
  to_f32({name, info.type, info.shape, bytes}, floats);
  std::copy(floats.begin(), floats.end(), values.begin());
  return values;
}

/// Reads everything, and asserts nothing of it.
void read_all(const std::filesystem::path& path) {
  const auto checkpoint = open_checkpoint(path);
  std::vector<std::byte> buffer;
  for (size_t i = 0; i < checkpoint->tensors().size(); ++i) checkpoint->read(i, buffer);
}

class TorchFormats : public ::testing::TestWithParam<const char*> {};

TEST_P(TorchFormats, ReadsEveryKindOfTensor) {
  const auto checkpoint = open_checkpoint(corpus(GetParam()));
  const bool nested = std::string(GetParam()).find("nested") != std::string::npos;
  const std::string prefix = nested ? "module." : "";
  EXPECT_THAT(checkpoint->tensors(), SizeIs(6));
  EXPECT_THAT(values_of(*checkpoint, prefix + "a"), ElementsAre(-1, -0.5, 0, 0.5, 1, 1.5));
  EXPECT_THAT(values_of(*checkpoint, prefix + "turned"), ElementsAre(-1, 0.5, -0.5, 1, 0, 1.5));
  EXPECT_THAT(values_of(*checkpoint, prefix + "tail"), ElementsAre(1, 1.5));
  EXPECT_THAT(values_of(*checkpoint, prefix + "n"), ElementsAre(-5, 7));
  EXPECT_THAT(values_of(*checkpoint, prefix + "half"), ElementsAre(1, -2));
  EXPECT_THAT(values_of(*checkpoint, prefix + "one"), ElementsAre(0.25));
  if (nested) {
    EXPECT_THAT(names_of(checkpoint->others()), ElementsAre("optimizer.exp_avg"));
  } else {
    EXPECT_THAT(checkpoint->others(), IsEmpty());
  }
}

TEST(TfBundle, GivesSlicesOfRowsOneByOne) {
  const auto checkpoint = open_checkpoint(corpus("tf_index/plain"));
  const auto names = names_of(checkpoint->tensors());
  const auto place = std::find(names.begin(), names.end(), "parted") - names.begin();
  std::vector<std::vector<float>> parts;
  checkpoint->read_parts(static_cast<size_t>(place), [&](std::span<const std::byte> part) {
    std::vector<float> values(part.size() / sizeof(float));
    std::memcpy(values.data(), part.data(), part.size());
    parts.push_back(values);
  });
  EXPECT_THAT(parts, ElementsAre(ElementsAre(1, 2, 3, 4), ElementsAre(5, 6, 7, 8)));
}

INSTANTIATE_TEST_SUITE_P(Files, TorchFormats,
                         ::testing::Values("torch_zip/stored.pt", "torch_zip/deflated.pt",
                                           "torch_zip/big-endian.pt", "torch_zip/nested.pt",
                                           "torch_zip/zip64.pt", "torch_legacy/plain.pt",
                                           "torch_legacy/protocol1.pt"));

TEST(TfBundle, JoinsSlicesOverShardsAndTellsTheOptimizer) {
  for (const char* name : {"tf_index/plain", "tf_index/snappy", "tf_index/plain.index",
                           "tf_index/plain.data-00001-of-00002"}) {
    const auto checkpoint = open_checkpoint(corpus(name));
    EXPECT_THAT(names_of(checkpoint->tensors()), UnorderedElementsAre("a", "parted"));
    EXPECT_THAT(names_of(checkpoint->others()), UnorderedElementsAre("a/adam_m", "global_step"));
    EXPECT_THAT(values_of(*checkpoint, "a"), ElementsAre(-1, -0.5, 0, 0.5, 1, 1.5));
    EXPECT_THAT(values_of(*checkpoint, "parted"), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
  }
}

TEST(TfBundle, NamesMissingAndShortDataFiles) {
  const test::TemporaryFolder folder;
  const auto copy = [&](const char* name) {
    test::write(folder / name, test::read(corpus("tf_index") / name));
  };
  copy("plain.index");
  copy("plain.data-00000-of-00002");
  auto checkpoint = open_checkpoint(folder / "plain");
  ASSERT_THAT(checkpoint->problems(), SizeIs(1));
  EXPECT_THAT(checkpoint->problems()[0],
              HasSubstr("plain.data-00001-of-00002: this data file is missing"));
  copy("plain.data-00001-of-00002");
  EXPECT_THAT(open_checkpoint(folder / "plain")->problems(), IsEmpty());
  test::write(folder / "plain.data-00001-of-00002", "short");
  checkpoint = open_checkpoint(folder / "plain");
  EXPECT_THAT(checkpoint->problems()[0], HasSubstr("is too short for \"parted\""));
  std::string damaged = test::read(corpus("tf_index/plain.data-00000-of-00002"));
  damaged[0] = static_cast<char>(damaged[0] ^ 1);
  test::write(folder / "plain.data-00000-of-00002", damaged);
  std::vector<std::byte> buffer;
  EXPECT_THAT(test::error_of(3, [&] { open_checkpoint(folder / "plain")->read(0, buffer); }),
              HasSubstr("does not have the checksum"));
}

TEST(Sharded, ReadsTheFilesOfAnIndex) {
  const test::TemporaryFolder folder;
  const std::string index = test::read(corpus("shard_index/model.safetensors.index.json"));
  test::write(folder / "model.safetensors.index.json", index);
  const auto refusal = [&](int code) {
    return test::error_of(code, [&] { open_checkpoint(folder.path()); });
  };
  EXPECT_THAT(refusal(3), HasSubstr("lacks 2 of the 2 files that it names: "
                                    "part-00001-of-00002.safetensors, part-00002-of-00002"));
  for (const char* name : {"part-00001-of-00002.safetensors", "part-00002-of-00002.safetensors"}) {
    test::write(folder / name, test::read(corpus("safetensors") / name));
  }
  const auto checkpoint = open_checkpoint(folder.path());
  EXPECT_EQ(checkpoint->kind(), "safetensors in 2 files");
  EXPECT_THAT(values_of(*checkpoint, "a"), ElementsAre(-1, -0.5, 0, 0.5, 1, 1.5));
  EXPECT_THAT(values_of(*checkpoint, "n"), ElementsAre(-5, 7));

  const auto with = [&](const std::string& map) {
    test::write(folder / "model.safetensors.index.json", R"({"weight_map":)" + map + "}");
    return refusal(3);
  };
  EXPECT_THAT(with(R"({"b":"part-00001-of-00002.safetensors"})"), HasSubstr("and it is not"));
  EXPECT_THAT(with(R"({"a":"../part-00001-of-00002.safetensors"})"),
              HasSubstr("not one beside it"));
  EXPECT_THAT(with(R"({"a":"model.safetensors.index.json"})"), HasSubstr("another index"));
  EXPECT_THAT(with("{}"), HasSubstr("names no tensors"));
  EXPECT_THAT(with(R"({"a":1})"), HasSubstr("is not an index"));
}

TEST(OpenCheckpoint, TellsWhatIsNotReadAndWhatToDo) {
  const test::TemporaryFolder folder;
  const auto refusal = [&](const std::string& content) {
    test::write(folder / "model.bin", content);
    return test::error_of(3, [&] { open_checkpoint(folder / "model.bin"); });
  };
  EXPECT_THAT(refusal(std::string(257, '\0') + "ustar" + std::string(300, '\0')),
              HasSubstr("is a TAR file"));
  EXPECT_THAT(refusal("\x89HDF\r\n\x1a\n"), HasSubstr("HDF5"));
  EXPECT_THAT(refusal("version https://git-lfs.github.com/spec/v1\n"), HasSubstr("Git LFS"));
  EXPECT_THAT(refusal("\x80\x02K\x01."), HasSubstr("but not of torch.save"));
  EXPECT_THAT(refusal("PK\x05\x06" + std::string(18, '\0')), HasSubstr("without data.pkl"));
  EXPECT_THAT(refusal(""), HasSubstr("is empty"));
  EXPECT_THAT(test::error_of(1, [&] { open_checkpoint(folder / "absent"); }),
              HasSubstr("there is no such checkpoint"));
}

TEST(OpenCheckpoint, KnowsWhatPeopleTakeForACheckpoint) {
  const test::TemporaryFolder folder;
  const auto refusal = [&](const std::string& content, const char* name = "model.bin") {
    test::write(folder / name, content);
    return test::error_of(3, [&] { open_checkpoint(folder / name); });
  };
  EXPECT_THAT(refusal("\x08\x08\x12\x07pytorch\x1a\x03"
                      "2.1:\xd0\x01"),
              HasSubstr("is an ONNX model"));
  // One that names no maker: the version, then the graph.
  EXPECT_THAT(refusal("\x08\x07:\x04\x0a\x02hi"), HasSubstr("is an ONNX model"));
  EXPECT_THAT(refusal("\x08\x01\x12\x06\x0a\x04\x12\x02hi"),
              HasSubstr("is the graph of a TensorFlow SavedModel"));
  EXPECT_THAT(refusal("\x08\x01\x12\x04text of some kind"), HasSubstr("is of a kind"));
  EXPECT_THAT(refusal("\x1f\x8b\x08\x08\x01\x02\x03\x04\x05\x06"), HasSubstr("gzip"));
  EXPECT_THAT(refusal("GGUF\x03" + std::string(11, '\0')), HasSubstr("is a GGUF file"));
  EXPECT_THAT(refusal("\n<!DOCTYPE html><html>"), HasSubstr("is a web page"));
  EXPECT_THAT(refusal("{\"hidden_size\": 12}"), HasSubstr("is JSON without a \"weight_map\""));
  for (const char* content : {"some notes on the model", "short"}) {
    EXPECT_THAT(refusal(content), HasSubstr("is of a kind that is not known; read are")) << content;
  }
  EXPECT_THAT(refusal(std::string("\x02\0\0\0\0\0\0\0[]", 10)), HasSubstr("safetensors file"));
}

TEST(OpenCheckpoint, KnowsTheFilesOfABundleByTheirNames) {
  const test::TemporaryFolder folder;
  const auto refusal = [&](const char* name) {
    return test::error_of(3, [&] { open_checkpoint(folder / name); });
  };
  test::write(folder / "m.data-00000-of-00001", "\x80 values begin with any byte");
  EXPECT_THAT(refusal("m.data-00000-of-00001"), HasSubstr("copy m.index here as well"));
  const std::string index = test::read(corpus("tf_index/plain.index"));
  test::write(folder / "m.index", index);
  EXPECT_EQ(open_checkpoint(folder / "m.data-00000-of-00001")->kind(), "TensorFlow 1 bundle");
  test::write(folder / "renamed", index);
  EXPECT_THAT(refusal("renamed"), HasSubstr("its name does not tell those of the data files"));
}

TEST(OpenCheckpoint, TellsTheOldFormOfTensorFlowFromAnIndex) {
  const test::TemporaryFolder folder;
  // Its header is a message that begins with another: what tensors there are.
  const std::string header = test::field(1, test::field(1, test::field(1, std::string("a"))));
  const std::string table = test::made_table(
      test::block_of(test::entry_of("", header) + std::string("\0\0\0\0\1\0\0\0", 8)));
  const auto refusal = [&](const std::filesystem::path& path) {
    return test::error_of(3, [&] { open_checkpoint(path); });
  };
  for (const char* name : {"model.ckpt", "model.index"}) {
    test::write(folder / name, table);
    EXPECT_THAT(refusal(folder / name), HasSubstr("first form, one file without an index"));
    std::filesystem::remove(folder / name);
  }
  test::write(folder / "model.ckpt", table);
  test::write(folder / "checkpoint", "model_checkpoint_path: \"model.ckpt\"\n");
  EXPECT_THAT(refusal(folder.path()), HasSubstr("first form, one file without an index"));
}

TEST(OpenCheckpoint, PointsFromARunToItsSnapshot) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "snapshot");
  test::write(folder / "snapshot/training.json", "{}");
  EXPECT_THAT(test::error_of(3, [&] { open_checkpoint(folder.path()); }),
              HasSubstr("name its snapshot: " + (folder / "snapshot").string()));
}

TEST(OpenCheckpoint, PointsFromASavedModelToItsWeights) {
  const test::TemporaryFolder folder;
  test::write(folder / "saved_model.pb", "");
  EXPECT_THAT(test::error_of(3, [&] { open_checkpoint(folder.path()); }),
              HasSubstr("name its weights: variables/variables.index"));
}

TEST(OpenCheckpoint, KnowsSafetensorsByMoreThanItsLength) {
  const test::TemporaryFolder folder;
  // The length of the header stands first: with 640 bytes the file begins as a pickle does.
  for (const size_t length : {0x80U, 0x280U, 0x480U, 0x7bU, 0x120U}) {
    std::string header = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
    header.resize(length, ' ');
    test::write(folder / "x", test::safetensors(header, "q"));
    EXPECT_EQ(open_checkpoint(folder / "x")->kind(), "safetensors") << length;
  }
}

/// Every beginning of a file, and the file with one bit turned, is refused with an Error or read.
class DamagedFiles : public ::testing::TestWithParam<const char*> {};

TEST_P(DamagedFiles, AreRefusedOrRead) {
  const std::string name = GetParam();
  const test::TemporaryFolder folder;
  for (const auto& entry : std::filesystem::directory_iterator(corpus(name).parent_path())) {
    test::write(folder / entry.path().filename().string(), test::read(entry.path()));
  }
  const std::filesystem::path path = folder / corpus(name).filename().string();
  const std::string whole = test::read(path);
  size_t refused = 0;
  const auto attempt = [&](const std::string& content) {
    test::write(path, content);
    const test::PeakMemory peak;
    try {
      read_all(path);
    } catch (const Error& error) {
      ++refused;
      EXPECT_THAT(error.what(), HasSubstr(folder.path().string()));
    }
    EXPECT_LT(peak.bytes(), test::kMostMemory);
  };
  for (size_t size = 0; size < whole.size(); ++size) attempt(whole.substr(0, size));
  EXPECT_EQ(refused, whole.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const int bit : {0, 3, 7}) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      attempt(damaged);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Files, DamagedFiles,
                         ::testing::Values("torch_zip/stored.pt", "torch_zip/deflated.pt",
                                           "torch_zip/big-endian.pt", "torch_zip/zip64.pt",
                                           "torch_legacy/plain.pt", "tf_index/plain.index",
                                           "tf_index/snappy.index",
                                           "safetensors/plain.safetensors"));

TEST(DamagedDataFiles, AreRefusedAtEveryByte) {
  const test::TemporaryFolder folder;
  for (const auto& entry : std::filesystem::directory_iterator(corpus("tf_index"))) {
    test::write(folder / entry.path().filename().string(), test::read(entry.path()));
  }
  const std::string name = "plain.data-00000-of-00002";
  const std::string whole = test::read(folder / name);
  const auto refusal = [&](const std::string& content) {
    test::write(folder / name, content);
    return test::error_of(3, [&] { read_all(folder / "plain"); });
  };
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_THAT(refusal(whole.substr(0, i)), HasSubstr(name));
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    EXPECT_THAT(refusal(damaged), HasSubstr("does not have the checksum of the index"));
  }
}

TEST(DamagedIndexes, AreRefusedAtEveryByte) {
  const test::TemporaryFolder folder;
  for (const char* name : {"part-00001-of-00002.safetensors", "part-00002-of-00002.safetensors"}) {
    test::write(folder / name, test::read(corpus("safetensors") / name));
  }
  const std::string name = "model.safetensors.index.json";
  const std::string whole = test::read(corpus("shard_index") / name);
  const auto attempt = [&](const std::string& content) {
    test::write(folder / name, content);
    try {
      read_all(folder / name);
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(folder.path().string()));
      return false;
    }
    return true;
  };
  EXPECT_TRUE(attempt(whole));
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_FALSE(attempt(whole.substr(0, i))) << i;
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    attempt(damaged);
  }
}

}  // namespace
}  // namespace bertrand
