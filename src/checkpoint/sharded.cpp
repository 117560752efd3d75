#include "checkpoint/sharded.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostIndex = 4 << 20;
constexpr size_t kMostShards = 1000;
constexpr size_t kMostTensors = 1 << 16;  // of all files

/// Tensor names to file names, taken apart as it is parsed so that memory stays in bounds.
class MapReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::map<std::string, std::string> files;
  std::string twice;  ///< a name that is there twice

  bool key(string_t& name) override {
    key_ = name;
    return true;
  }
  bool start_object(size_t) override {
    ++depth_;
    in_map_ = in_map_ || (depth_ == 2 && key_ == "weight_map");
    return depth_ < kMostDepth;
  }
  bool end_object() override {
    in_map_ = in_map_ && depth_ != 2;
    --depth_;
    return true;
  }
  bool string(string_t& text) override {
    if (in_map_ && depth_ == 2 && !files.emplace(key_, text).second) {
      twice = key_;
    }
    return twice.empty() && files.size() <= kMostTensors;
  }
  bool start_array(size_t) override { return ++depth_ < kMostDepth; }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool null() override { return !in_map_; }
  bool boolean(bool) override { return !in_map_; }
  bool number_integer(number_integer_t) override { return !in_map_; }
  bool number_unsigned(number_unsigned_t) override { return !in_map_; }
  bool number_float(number_float_t, const string_t&) override { return !in_map_; }
  bool binary(nlohmann::json::binary_t&) override { return false; }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  static constexpr int kMostDepth = 16;
  int depth_ = 0;
  bool in_map_ = false;
  std::string key_;
};

class ShardedCheckpoint : public Checkpoint {
 public:
  explicit ShardedCheckpoint(const fs::path& path) : path_(path) {
    const MappedFile file(path);
    index_bytes_ = file.bytes().size();
    MapReader reader;
    if (index_bytes_ > kMostIndex ||
        !nlohmann::json::sax_parse(file.text().begin(), file.text().end(), &reader)) {
      refuse(
          "is not an index of tensors: a JSON object whose \"weight_map\" names a file for each");
    }
    std::map<std::string, size_t> shards;
    for (const auto& [tensor, name] : reader.files) {
      const auto [place, fresh] = shards.emplace(name, shards_.size());
      if (fresh) open_shard(name);
      if (!places_.contains({place->second, tensor})) {
        refuse("says that \"" + printable(tensor) + "\" is in " + printable(name) +
               ", and it is not");
      }
      const auto index = places_.at({place->second, tensor});
      infos_.push_back(shards_[place->second]->tensors()[index]);
      where_.emplace_back(place->second, index);
      places_.erase({place->second, tensor});
    }
    if (infos_.empty()) refuse("names no tensors");
    for (const auto& [place, index] : places_) {
      others_.push_back(shards_[place.first]->tensors()[index]);
    }
  }

  std::string kind() const override {
    return shards_[0]->kind() + " in " + std::to_string(shards_.size()) + " files";
  }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  std::span<const std::byte> read(size_t index, std::vector<std::byte>& buffer) const override {
    return shards_[where_[index].first]->read(where_[index].second, buffer);
  }
  void read_parts(size_t index, const PartCall& part) const override {
    shards_[where_[index].first]->read_parts(where_[index].second, part);
  }
  void release() const override {
    for (const auto& shard : shards_) shard->release();
  }
  std::vector<File> files() const override {
    std::vector<File> all = {{path_, index_bytes_}};
    for (const auto& shard : shards_) {
      const auto more = shard->files();
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorCode::bad_input, path_.string() + ": " + what + ".");
  }

  void open_shard(const std::string& name) {
    const fs::path file(name);
    if (name.empty() || name == "." || name == ".." || file.filename() != file) {
      refuse("names the file \"" + printable(name) + "\", which is not one beside it");
    }
    if (shards_.size() == kMostShards) refuse("names too many files");
    const fs::path path = path_.parent_path() / file;
    std::error_code ignored;
    if (!fs::exists(path, ignored)) {
      throw Error(ErrorCode::bad_input, path.string() + ": this part of the checkpoint " +
                                            path_.filename().string() +
                                            " is missing; copy it here as well.");
    }
    if (is_shard_index(MappedFile(path).bytes())) refuse("names another index as a part");
    shards_.push_back(open_checkpoint(path));
    const auto& tensors = shards_.back()->tensors();
    if (places_.size() + tensors.size() > kMostTensors) refuse("names too many tensors");
    for (size_t i = 0; i < tensors.size(); ++i) {
      places_.emplace(std::pair(shards_.size() - 1, tensors[i].name), i);
    }
  }

  fs::path path_;
  uint64_t index_bytes_ = 0;
  std::vector<std::shared_ptr<const Checkpoint>> shards_;
  std::map<std::pair<size_t, std::string>, size_t> places_;  // of shard and name, not yet taken
  std::vector<TensorInfo> infos_;
  std::vector<std::pair<size_t, size_t>> where_;  // shard and place in it
};

}  // namespace

std::shared_ptr<const Checkpoint> open_sharded(const fs::path& index) {
  return std::make_shared<ShardedCheckpoint>(index);
}

bool is_shard_index(std::span<const std::byte> file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()),
                              std::min(file.size(), kMostIndex));
  const size_t begin = text.find_first_not_of(" \t\r\n");
  return begin != text.npos && text[begin] == '{' && text.find("\"weight_map\"") != text.npos;
}

}  // namespace bertrand
