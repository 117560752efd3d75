// Files made to take memory or time out of all proportion: each is refused in bounds, or read.
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/fixtures.h"
#include "checkpoint/inspect.h"
#include "checkpoint/made_torch.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/peak_memory.h"
#include "shared_data.h"

namespace bertrand {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using namespace std::string_literals;

class Hostile : public ::testing::Test {
 protected:
  /// The refusal of a file to be opened or read, and the memory it took.
  std::string refusal(const std::string& content, const std::string& name = "x") {
    test::write(folder_ / name, content);
    const test::PeakMemory peak;
    std::string text = test::error_of(3, [&] {
      const auto checkpoint = open_checkpoint(folder_ / name);
      std::vector<std::byte> buffer;
      for (size_t i = 0; i < checkpoint->tensors().size(); ++i) checkpoint->read(i, buffer);
    });
    EXPECT_LT(peak.bytes(), test::kMostMemory) << text;
    EXPECT_LT(peak.taken(), kMostTaken) << text;
    EXPECT_LT(text.size(), 1000U);
    return text;
  }

  /// Of all memory, also what was given back: what is copied again and again takes time.
  static constexpr size_t kMostTaken = 512 << 20;

  test::TemporaryFolder folder_;
};

std::string repeated(size_t times, const std::function<std::string(size_t)>& part) {
  std::string text;
  for (size_t i = 0; i < times; ++i) text += part(i);
  return text;
}

// Safetensors

TEST_F(Hostile, SafetensorsHeaders) {
  constexpr size_t kMost = 10'000'000;  // bytes of a header
  EXPECT_THAT(refusal(test::safetensors("{\"" + std::string(kMost - 6, 'x') + "\":7}", "")),
              HasSubstr("by more than the 512 bytes that are read"));
  EXPECT_THAT(refusal(test::safetensors(std::string(kMost, '{'), "")), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(test::safetensors("{\"a\":" + std::string(kMost, ' ') + "}", "")),
              HasSubstr("a header of 10000006 bytes, and at most 10000000 are read"));
  const auto tensors = [](size_t count, const std::string& shape) {
    return "{" + repeated(count, [&](size_t i) {
             return "\"" + std::to_string(i) + R"(":{"dtype":"U8","shape":[)" + shape +
                    R"(],"data_offsets":[0,0]},)";
           });
  };
  EXPECT_THAT(refusal(test::safetensors(tensors(150'000, ""), "")),
              HasSubstr("more than the 65536 tensors that are read"));
  const std::string shape = "0" + repeated(63, [](size_t) { return ",0"; });
  EXPECT_THAT(refusal(test::safetensors(tensors(50'000, shape), "")),
              HasSubstr("more than the 1048576 dimensions of tensors"));
  EXPECT_THAT(
      refusal(test::safetensors(
          R"({"__metadata__":{)" +
              repeated(600'000, [](size_t i) { return "\"" + std::to_string(i) + "\":\"\","; }),
          "")),
      HasSubstr("more than the 65536 entries of metadata"));
}

// PyTorch

/// An archive whose pickle is deflated, so that the file is small.
std::string zip_of(const std::string& pickle) {
  return test::made_zip({test::deflated("m/data.pkl", pickle)});
}

TEST_F(Hostile, Pickles) {
  constexpr size_t kMost = 16 << 20;  // bytes of a pickle
  const auto all = [](const std::string& part) {
    return repeated((kMost - 1) / part.size(), [&](size_t) { return part; });
  };
  EXPECT_THAT(refusal(zip_of(std::string(kMost + 1, 'N'))), HasSubstr("more than a checkpoint's"));
  for (const char* part : {"]", "}", "(", "N", "S'a'\n", "]q\x1", "K\x1\x85"}) {
    EXPECT_THAT(refusal(zip_of(all(part))), HasSubstr("more objects than")) << part;
  }
  EXPECT_THAT(refusal(zip_of("N" + std::string(kMost - 2, '2'))), HasSubstr("more objects than"));
  EXPECT_THAT(refusal(zip_of("}(" + all("N").substr(2))), HasSubstr("more objects than"));
  EXPECT_THAT(refusal(zip_of("]" + all("]a").substr(2))), HasSubstr("more objects than"));
  EXPECT_THAT(refusal(zip_of("]q\0"s + all("h\0a"s).substr(3))), HasSubstr("more objects than"));
}

TEST_F(Hostile, PicklesOfManyNames) {
  // Dictionaries with the same long keys under each other: names of tensors are joined from them.
  const std::string key = "X"s + test::little_endian(uint32_t{500}) + std::string(500, 'k');
  const std::string tensor = test::pickled(test::MadeTensor{"", "0", 6, 0, {6}, {1}});
  std::string pickle = key + "q\0"s + tensor + "q\1"s;
  pickle += "}q\2("s +
            repeated(200, [](size_t i) { return "K" + std::string(1, char(i)) + "h\1"s; }) + "u";
  pickle += "}q\3("s + repeated(20'000, [](size_t) { return "h\0]h\1a"s; }) + "u.";
  const std::string text = refusal(test::made_zip(
      {test::stored("m/data.pkl", pickle), test::stored("m/data/0", std::string(24, '\0'))}));
  EXPECT_THAT(text, HasSubstr("more tensors than a checkpoint can have"));
}

TEST_F(Hostile, CirclesOfDictionaries) {
  EXPECT_THAT(refusal(zip_of("}q\0(S'model'\nh\0S'a'\nh\0u."s)), HasSubstr("holds no tensors"));
  EXPECT_THAT(refusal(zip_of("}q\0(S'a'\n]q\1h\1ah\0aS'model'\n}S'state_dict'\nh\0su."s)),
              HasSubstr("holds no tensors"));
}

TEST_F(Hostile, LegacyFiles) {
  const std::string whole = test::read(test::source_folder() / "fuzz/corpus/torch_legacy/plain.pt");
  std::string file = whole;
  const std::string size = test::little_endian(uint64_t{6});  // of the first storage
  const size_t place = file.rfind(size + test::bytes_of(std::vector<float>{-1}));
  file.replace(place, 8, test::little_endian(uint64_t{1} << 63));
  EXPECT_THAT(refusal(file), HasSubstr("has a storage with too many elements"));
  file.replace(place, 8, test::little_endian(uint64_t{1} << 60));
  EXPECT_THAT(refusal(file), HasSubstr("ends where 4611686018427387904 more bytes"));
  // The pickle of keys, and as many storages without elements as it has room for.
  const size_t keys = whole.rfind("\x80\x02](");
  const std::string many = repeated(150'000, [](size_t i) {
    return "X"s + test::little_endian(uint32_t{6}) + std::to_string(100'000 + i);
  });
  EXPECT_THAT(refusal(whole.substr(0, keys) + "\x80\x02](" + many + "e."), HasSubstr("storage"));
}

/// What the older torch.save writes of f32 in one storage, "0"; `junk` begins each pickle.
std::string legacy_of(const test::MadeTensor& tensor, const std::string& content,
                      const std::string& junk = "") {
  const std::string magic = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  const std::string begin = "\x80\x02" + junk;
  return "\x80\x02" + magic + junk + "." + begin + "M\xe9\x03." + begin + "}." + begin +
         test::pickled(std::vector{tensor}) + begin + "](S'0'\ne." +
         test::little_endian(uint64_t{content.size() / 4}) + content;
}

TEST_F(Hostile, LegacyPicklesFullOfObjects) {
  // Each list has one item, and what is built is dropped again.
  const std::string junk =
      "Nq\0"s + "0(" + repeated(150'000, [](size_t) { return "]h\0a"s; }) + "1";
  const test::MadeTensor tensor{"a", "0", 1, 0, {1}, {1}};
  const std::string content(4, '\0');
  EXPECT_THAT(refusal(legacy_of(tensor, content, junk)), HasSubstr("more objects than the 16 MB"));
  test::write(folder_ / "x", legacy_of(tensor, content));
  EXPECT_THAT(open_checkpoint(folder_ / "x")->tensors(), SizeIs(1));
}

// Archives

constexpr size_t kBomb = 96 << 20;

/// [kBomb] zeros, a thousandth of that in the archive.
test::MadeEntry bomb() { return test::deflated("", std::string(kBomb, '\0')); }

test::MadeTensor whole_tensor(const std::string& name = "a") {
  return {name, "0", kBomb / 4, 0, {kBomb / 4096, 1024}, {1024, 1}};
}

TEST_F(Hostile, DeflatedEntriesThatClaimTooMuch) {
  test::MadeTensor small = whole_tensor();
  small.elements = 1024;
  small.shape = {1, 1024};
  EXPECT_THAT(refusal(test::made_torch({small}, bomb())),
              HasSubstr("\"0\" would unpack to 100663296 bytes, and it has 4096"));
  test::MadeEntry liar = bomb();
  liar.size = 4096;
  EXPECT_THAT(refusal(test::made_torch({small}, liar)), HasSubstr("cannot be unpacked"));
  liar = bomb();
  liar.size = kBomb + 4;
  test::MadeTensor larger = whole_tensor();
  larger.elements = kBomb / 4 + 1;
  test::write(folder_ / "x", test::made_torch({larger}, liar));
  EXPECT_THAT(inspect(folder_ / "x", /*check=*/true).problems.lines(),
              ElementsAre(HasSubstr("does not unpack to what the directory says")));
}

TEST_F(Hostile, DeflatedEntriesThatAreLargeAndHonest) {
  test::write(folder_ / "x", test::made_torch({whole_tensor()}, bomb()));
  {
    const test::PeakMemory peak;
    EXPECT_THAT(inspect(folder_ / "x", /*check=*/true).problems.lines(), IsEmpty());
    EXPECT_LT(peak.bytes(), size_t{16} << 20) << "values are looked at part by part";
  }
  const auto checkpoint = open_checkpoint(folder_ / "x");
  std::vector<std::byte> buffer(kBomb - 1);
  const test::PeakMemory peak;
  EXPECT_THAT(checkpoint->read(0, buffer), SizeIs(kBomb));
  EXPECT_LT(peak.bytes(), kBomb + (4 << 20));
}

TEST_F(Hostile, DeflatedEntriesThatWouldBeUnpackedAgainAndAgain) {
  std::vector<test::MadeTensor> tails;
  tails.reserve(40);
  for (int i = 0; i < 40; ++i) {
    tails.push_back({std::to_string(i), "0", kBomb / 4, kBomb / 4 - 1, {1}, {1}});
  }
  EXPECT_THAT(refusal(test::made_torch(tails, bomb())), HasSubstr("would be unpacked too often"));
  tails.resize(4);
  test::write(folder_ / "x", test::made_torch(tails, bomb()));
  EXPECT_THAT(open_checkpoint(folder_ / "x")->tensors(), SizeIs(4));
  test::MadeTensor turned = whole_tensor();
  std::swap(turned.shape[0], turned.shape[1]);
  std::swap(turned.strides[0], turned.strides[1]);
  EXPECT_THAT(refusal(test::made_torch({turned}, bomb())), HasSubstr("does not lie in order"));
}

TEST_F(Hostile, ManyDeflatedEntriesThatWouldBeUnpackedAgainAndAgain) {
  constexpr uint64_t kElements = 1 << 18;
  std::vector<test::MadeEntry> entries;
  std::vector<test::MadeTensor> tails;
  for (int storage = 0; storage < 40; ++storage) {
    const std::string key = std::to_string(storage);
    entries.push_back(test::deflated("m/data/" + key, std::string(4 * kElements, '\0')));
    for (int i = 0; i < 40; ++i) {
      tails.push_back({key + "." + std::to_string(i), key, kElements, kElements - 1, {1}, {1}});
    }
  }
  entries.push_back(test::deflated("m/data.pkl", test::pickled(tails)));
  EXPECT_THAT(refusal(test::made_zip(entries)), HasSubstr("would be unpacked too often"));
}

TEST_F(Hostile, TensorsThatRepeatTheirStorage) {
  std::vector<test::MadeTensor> tensors;
  tensors.reserve(40);
  for (int i = 0; i < 40; ++i) {
    tensors.push_back({std::to_string(i), "0", 1 << 20, 0, {1 << 20}, {1}});
  }
  EXPECT_THAT(refusal(test::made_torch(tensors, test::stored("", std::string(4 << 20, '\0')))),
              HasSubstr("repeat what lies in their storages"));
}

TEST_F(Hostile, TensorsThatAreExpanded) {
  constexpr uint64_t kElements = 12 << 20;
  const std::string refused = "repeat what lies in their storages";
  const test::MadeEntry zeros = test::deflated("", std::string(4 * kElements, '\0'));
  const test::MadeTensor rows{"a", "0", kElements, 0, {16, kElements}, {0, 1}};
  EXPECT_THAT(refusal(test::made_torch({rows}, zeros)), HasSubstr(refused));
  const test::MadeTensor columns{"a", "0", kElements, 0, {kElements, 16}, {1, 0}};
  EXPECT_THAT(refusal(test::made_torch({columns}, zeros)), HasSubstr(refused));
  const test::MadeTensor windows{"a", "0", 8000, 0, {4000, 4000}, {1, 1}};
  const std::string content(4 * 8000, '\0');
  EXPECT_THAT(refusal(test::made_torch({windows}, test::stored("", content))), HasSubstr(refused));
  EXPECT_THAT(refusal(legacy_of(windows, content)), HasSubstr(refused));
}

TEST_F(Hostile, TensorsThatAreExpandedBesideLargeOnes) {
  // What is deflated takes little of the file, whatever it has unpacked.
  std::vector<test::MadeTensor> tensors = {whole_tensor()};
  tensors.push_back({"b", "1", 1, 0, {13 << 20}, {0}});
  const auto file = [&] {
    test::MadeEntry zeros = bomb();
    zeros.name = "m/data/0";
    return test::made_zip({test::stored("m/data.pkl", test::pickled(tensors)), zeros,
                           test::stored("m/data/1", std::string(1 << 20, '\0'))});
  };
  EXPECT_THAT(refusal(file()), HasSubstr("repeat what lies in their storages"));
  tensors.pop_back();
  for (int i = 0; i < 90; ++i) {
    tensors.push_back({std::to_string(i), "1", 1 << 18, 0, {1 << 18}, {1}});
  }
  EXPECT_THAT(refusal(file()), HasSubstr("repeat what lies in their storages"));
}

TEST_F(Hostile, StridedTensorsAreGatheredPartByPart) {
  constexpr uint64_t kSide = 3000;
  const std::string content(4 * kSide * kSide, '\0');
  const test::MadeTensor turned{"a", "0", kSide * kSide, 0, {kSide, kSide}, {1, kSide}};
  const auto looked_at = [&](const std::string& file) {
    test::write(folder_ / "x", file);
    const test::PeakMemory peak;
    EXPECT_THAT(inspect(folder_ / "x", /*check=*/true).problems.lines(), IsEmpty());
    return peak.bytes();
  };
  constexpr size_t kFew = 4 << 20;
  test::MadeEntry storage = test::stored("m/data/0", content);
  const test::MadeEntry pickle = test::stored("m/data.pkl", test::pickled(std::vector{turned}));
  EXPECT_LT(looked_at(test::made_zip({pickle, storage})), kFew);
  EXPECT_LT(looked_at(test::made_zip({pickle, storage, test::stored("m/byteorder", "big")})), kFew);
  EXPECT_LT(looked_at(legacy_of(turned, content)), kFew);
  storage = test::deflated("m/data/0", content);
  EXPECT_LT(looked_at(test::made_zip({pickle, storage})), content.size() + kFew);
}

TEST_F(Hostile, DeflatedTensorsThatAreLargerThanTheySpan) {
  constexpr uint64_t kElements = 10 << 20;
  const test::MadeTensor twice{"a", "0", kElements, 0, {2, kElements}, {0, 1}};
  EXPECT_THAT(
      refusal(test::made_torch({twice}, test::deflated("", std::string(4 * kElements, '\0')))),
      HasSubstr("does not lie in order"));
}

TEST_F(Hostile, EntriesThatLieOverEachOther) {
  // One archive entry holds another, as a bomb's would, and the directory names both.
  const test::MadeEntry inner = test::stored("inner", "content");
  const test::MadeEntry outer = test::stored("outer", test::local_record(inner));
  std::string file = test::local_record(outer);
  const size_t place = file.find("PK\x03\x04", 1);
  const std::string directory = test::central_record(outer, 0) + test::central_record(inner, place);
  file += directory + test::end_record(2, file.size(), directory.size());
  EXPECT_THAT(refusal(file), HasSubstr("entry \"outer\" lies over what follows it at byte 35"));
}

TEST_F(Hostile, ArchivesOfManyLongNames) {
  std::vector<test::MadeEntry> entries;
  for (size_t i = 0; i < 65'000; ++i) {
    entries.push_back(test::stored(std::string(1000, 'n') + std::to_string(i), ""));
  }
  EXPECT_THAT(refusal(test::made_zip(entries)), HasSubstr("without data.pkl"));
}

// Descriptions

TEST_F(Hostile, ShardIndexes) {
  const auto refused = [&](const std::string& map) {
    return refusal(R"({"weight_map":{)" + map + "}}", "model.safetensors.index.json");
  };
  EXPECT_THAT(
      refused(repeated(300'000, [](size_t i) { return "\"" + std::to_string(i) + "\":\"b\","; })),
      HasSubstr("is not an index of tensors"));
  EXPECT_THAT(refused("\"" + std::string(3 << 20, 'a') + "\":\"b\""),
              HasSubstr("lacks 1 of the 1 files"));
  EXPECT_THAT(refused("\"a\":" + std::string(3 << 20, '[')), HasSubstr("is not an index"));
}

TEST_F(Hostile, ShardsOfManyNames) {
  std::string map;
  std::string header = "{";
  for (size_t i = 0; i < 10'000; ++i) {
    const std::string name = std::to_string(i) + std::string(400, 'n');
    header += (i == 0 ? "\"" : ",\"") + name + R"(":{"dtype":"U8","shape":[],"data_offsets":[)" +
              std::to_string(i) + "," + std::to_string(i + 1) + "]}";
  }
  const std::string shard = test::safetensors(header + "}", std::string(10'000, 'v'));
  for (const char* name : {"1", "2", "3"}) {
    test::write(folder_ / name, shard);
    map += (map.empty() ? "\"" : ",\"") + (name + std::string("\":\"")) + name + "\"";
  }
  const std::string index = R"({"weight_map":{)" + map + "}}";
  EXPECT_THAT(refusal(index, "model.safetensors.index.json"),
              HasSubstr("more tensors, or longer names of them, than are read"));
  std::filesystem::remove(folder_ / "2");
  std::filesystem::create_hard_link(folder_ / "1", folder_ / "2");
  EXPECT_THAT(refusal(index, "model.safetensors.index.json"),
              HasSubstr("names one file twice, the second time as 2"));
}

TEST_F(Hostile, Configs) {
  test::write(folder_ / "model.safetensors", test::safetensors("{}", ""));
  constexpr size_t kMost = 1 << 20;
  for (const std::string& config :
       {std::string(kMost, '['),
        "{\"a\":[" + repeated(kMost / 3 - 4, [](size_t) { return "[],"; }) + "1]}",
        repeated(kMost / 5, [](size_t) { return "{\"\":"; }), "[" + std::string(kMost - 1, '"')}) {
    test::write(folder_ / "config.json", config);
    const test::PeakMemory peak;
    EXPECT_THAT(test::error_of(3, [&] { ModelFolder::open(folder_.path()); }),
                HasSubstr("config.json"));
    EXPECT_LT(peak.bytes(), test::kMostMemory);
  }
}

}  // namespace
}  // namespace bertrand
