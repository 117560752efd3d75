// Archives and models of more bytes than 32 bits count. Large files are sparse: they take no room.
#include <fcntl.h>
#include <map>
#include <string>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/fixtures.h"
#include "checkpoint/made_torch.h"
#include "checkpoint/torch_files.h"
#include "checkpoint/torch_state.h"
#include "checkpoint/weight_writer.h"
#include "checkpoint/zip_archive.h"
#include "checkpoint/zip_records.h"
#include "checkpoint/zip_writer.h"
#include "model/parameters.h"
#include "shared_data.h"

namespace bertrand {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kGigabyte = uint64_t{1} << 30;

/// A file of which only what is written takes room.
class SparseFile {
 public:
  explicit SparseFile(const std::filesystem::path& path)
      : handle_(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) {}
  ~SparseFile() { ::close(handle_); }
  SparseFile(const SparseFile&) = delete;
  SparseFile& operator=(const SparseFile&) = delete;

  bool write(uint64_t place, const std::string& text) {
    return ::pwrite(handle_, text.data(), text.size(), static_cast<off_t>(place)) ==
           static_cast<ssize_t>(text.size());
  }

 private:
  int handle_;
};

/// An archive with entries as ZipWriter lays them out; what is not given is zeros.
bool write_archive(const std::filesystem::path& path, std::vector<ZipRecord> entries,
                   const std::map<std::string, std::string>& contents) {
  SparseFile file(path);
  uint64_t at = 0;
  bool done = true;
  const auto put = [&](const std::string& text) {
    done = done && file.write(at, text);
    at += text.size();
  };
  for (ZipRecord& entry : entries) {
    entry.offset = at;
    put(zip_local_header(entry));
    EXPECT_EQ(at % 64, 0U) << entry.name;
    if (const auto content = contents.find(entry.name); content != contents.end()) {
      entry.crc = test::crc_of(content->second);
      done = done && file.write(at, content->second);
    }
    at += entry.size;
    put(zip_descriptor(entry));
  }
  put(zip_directory(entries, at));
  return done;
}

TEST(Zip64, ReadsATensorBehindFourGigabytes) {
  const std::vector<TensorInfo> tensors = {{"large", DataType::f32, {1280, 1 << 20}},
                                           {"small", DataType::f32, {2}}};
  const test::TemporaryFolder folder;
  const std::map<std::string, std::string> contents = {
      {"archive/data.pkl", torch_pickle(tensors)},
      {"archive/data/1", test::bytes_of(std::vector<float>{1.5F, -2})}};
  const std::vector<ZipRecord> entries = {{"archive/data.pkl", contents.begin()->second.size()},
                                          {"archive/data/0", 5 * kGigabyte},
                                          {"archive/data/1", 8}};
  if (!write_archive(folder / "x.pt", entries, contents)) {
    GTEST_SKIP() << "This file system has no sparse files of 5 GB.";
  }
  const auto checkpoint = open_checkpoint(folder / "x.pt");
  ASSERT_EQ(checkpoint->tensors().size(), 2U);
  EXPECT_EQ(checkpoint->tensors()[0].bytes(), 5 * kGigabyte);
  std::vector<std::byte> buffer;
  std::vector<float> values(2);
  to_f32({"small", DataType::f32, {2}, checkpoint->read(1, buffer)}, values);
  EXPECT_THAT(values, ElementsAre(1.5F, -2));
  EXPECT_TRUE(buffer.empty()) << "it is used where it lies";
}

TEST(Zip64, TellsSizesAndPlacesAroundTheLimit) {
  for (const uint64_t size : {4 * kGigabyte - 2, 4 * kGigabyte - 1, 4 * kGigabyte}) {
    const test::TemporaryFolder folder;
    if (!write_archive(folder / "x.zip", {{"a", size}, {"b", 3}}, {{"b", "end"}})) {
      GTEST_SKIP() << "This file system has no sparse files of 4 GB.";
    }
    const MappedFile file(folder / "x.zip");
    const ZipArchive archive = ZipArchive::parse(file.bytes(), "x.zip");
    EXPECT_EQ(archive.find("a")->size, size);
    std::vector<std::byte> buffer;
    const auto end = archive.read(*archive.find("b"), 0, 3, /*check=*/true, buffer);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(end.data()), end.size()), "end");
  }
}

TEST(Zip64, WritesAndReadsManyEntries) {
  const test::TemporaryFolder folder;
  constexpr size_t kMany = 1 << 16;  // one more than the narrow count can tell
  ZipWriter writer(folder / "x.zip");
  for (size_t i = 0; i < kMany; ++i) writer.add(std::to_string(i), i == 65'000 ? "here" : "");
  writer.commit();
  const MappedFile file(folder / "x.zip");
  const ZipArchive archive = ZipArchive::parse(file.bytes(), "x.zip");
  EXPECT_EQ(archive.entries().size(), kMany);
  EXPECT_EQ(archive.find("65000")->size, 4U);
}

TEST(Zip64, RefusesNumbersThatCannotBe) {
  const std::string whole = test::read(test::source_folder() / "fuzz/corpus/torch_zip/zip64.pt");
  EXPECT_EQ(ZipArchive::parse(test::as_bytes(whole), "x.zip").entries().size(), 7U);
  // The eight bytes at `place`, counted from the first `record`, become 2^63.
  const auto refusal = [&](const std::string& record, size_t place) {
    std::string file = whole;
    file.replace(file.find(record) + place, 8, test::little_endian(uint64_t{1} << 63));
    return test::error_of(3, [&] { ZipArchive::parse(test::as_bytes(file), "x.zip"); });
  };
  const std::string field("\1\0\30\0", 4);  // of three numbers
  EXPECT_THAT(refusal(field, 4), HasSubstr("cannot have 9223372036854775808 bytes"));
  EXPECT_THAT(refusal(field, 12), HasSubstr("ends where 9223372036854775808 more bytes"));
  EXPECT_THAT(refusal(field, 20), HasSubstr("is not where the directory says"));
  const std::string end = "PK\x06\x06";
  EXPECT_THAT(refusal(end, 32), HasSubstr("cannot hold 9223372036854775808 entries"));
  EXPECT_THAT(refusal(end, 40), HasSubstr("the directory of this ZIP file lies behind its end"));
  EXPECT_THAT(refusal(end, 48), HasSubstr("the directory of this ZIP file lies behind its end"));
  EXPECT_THAT(refusal("PK\x06\x07", 8), HasSubstr("points to a directory behind its end"));
}

TEST(TorchPickle, TellsTensorsOfMoreThanTwoBillionElements) {
  const std::string pickle = torch_pickle({{"a", DataType::f16, {70'000, 50'000}}});
  Cursor cursor(test::as_bytes(pickle), "x.pt");
  const PickledObjects objects = PickledObjects::parse(cursor, "x.pt");
  constexpr uint64_t kBytes = 7'000'000'000;
  const TorchState state = find_state(
      objects, "x.pt", [](const std::string&) { return kBytes; }, kBytes);
  ASSERT_EQ(state.infos.size(), 1U);
  EXPECT_EQ(state.infos[0].size(), 3'500'000'000);
  EXPECT_EQ(state.tensors[0].end, kBytes);
}

TEST(OnnxWriter, RefusesMoreThanTwoGigabytes) {
  const test::TemporaryFolder folder;
  BertConfig config;
  config.hidden_size = 1024;
  config.num_attention_heads = 16;
  config.num_hidden_layers = 1;
  config.intermediate_size = 16;
  // Of so many word pieces, in this type; all that is not their embeddings has under 30 MB.
  const auto write = [&](int64_t vocabulary, DataType type) {
    config.vocab_size = vocabulary;
    std::vector<TensorInfo> tensors;
    for (const ParameterInfo& info : bert_parameters(config)) {
      tensors.push_back({info.name, type, info.shape});
    }
    make_onnx_writer(folder / "x.onnx", config, tensors);
  };
  EXPECT_THAT(test::error_of(2, [&] { write(1 << 19, DataType::f32); }),
              HasSubstr("at most 2 GB; give --dtype f16"));
  EXPECT_THAT(test::error_of(2, [&] { write(1 << 20, DataType::bf16); }),
              HasSubstr("at most 2 GB; the other formats have no such limit"));
  write((1 << 19) - (1 << 13), DataType::f32);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "nothing is there before commit()";
}

}  // namespace
}  // namespace bertrand
