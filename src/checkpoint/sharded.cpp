#include "checkpoint/sharded.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <sys/stat.h>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/findings.h"

namespace bertrand {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostIndex = 4 << 20;
constexpr size_t kMostShards = 1000;
constexpr size_t kMostTensors = 1 << 16;  // of all files
constexpr size_t kMostNames = 4 << 20;    // bytes of all tensors' names and shapes

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
    const std::map<std::string_view, size_t> shards = open_shards(reader.files);
    std::map<std::pair<size_t, std::string_view>, size_t> places;  // not yet taken
    for (size_t shard = 0; shard < shards_.size(); ++shard) {
      const auto& tensors = shards_[shard]->tensors();
      for (size_t i = 0; i < tensors.size(); ++i) {
        places.emplace(std::pair(shard, std::string_view(tensors[i].name)), i);
      }
    }
    for (const auto& [tensor, name] : reader.files) {
      const size_t shard = shards.at(name);
      const auto place = places.find({shard, tensor});
      if (place == places.end()) {
        refuse("says that \"" + printable(tensor) + "\" is in " + printable(name) +
               ", and it is not");
      }
      infos_.push_back(shards_[shard]->tensors()[place->second]);
      where_.emplace_back(shard, place->second);
      places.erase(place);
    }
    if (infos_.empty()) refuse("names no tensors");
    for (const auto& [place, index] : places) {
      others_.push_back(shards_[place.first]->tensors()[index]);
    }
  }

  std::string kind() const override {
    return shards_[0]->kind() + " in " + std::to_string(shards_.size()) + " files";
  }
  std::string format() const override { return shards_[0]->format(); }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  std::vector<std::string> notes() const override {  // each once, however many files it is about
    std::set<std::string> all;
    for (const auto& shard : shards_) {
      for (std::string& note : shard->notes()) all.insert(std::move(note));
    }
    return {all.begin(), all.end()};
  }
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

  /// Opens every file that is named, once; their places by name.
  std::map<std::string_view, size_t> open_shards(const std::map<std::string, std::string>& files) {
    std::map<std::string_view, size_t> shards;
    for (const auto& [tensor, name] : files) {
      if (shards.emplace(name, 0).second && shards.size() > kMostShards) {
        refuse("names too many files");
      }
    }
    refuse_missing(shards);
    for (auto& [name, place] : shards) {
      place = shards_.size();
      open_shard(name);
    }
    return shards;
  }

  void refuse_missing(const std::map<std::string_view, size_t>& shards) const {
    constexpr size_t kShown = 3;
    Findings missing(kShown);
    for (const auto& [name, place] : shards) {
      const fs::path file(name);
      if (name.empty() || name == "." || name == ".." || file.filename() != file) {
        refuse("names the file \"" + printable(name) + "\", which is not one beside it");
      }
      if (!is_there(path_.parent_path() / file)) missing.add(printable(name));
    }
    if (missing.count() == 0) return;
    refuse("lacks " + std::to_string(missing.count()) + " of the " + std::to_string(shards.size()) +
           " files that it names: " + missing.list() + "; copy what is missing here as well");
  }

  void open_shard(std::string_view name) {
    const fs::path path = path_.parent_path() / fs::path(name);
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && !seen_.emplace(status.st_dev, status.st_ino).second) {
      refuse("names one file twice, the second time as " + printable(name));
    }
    if (is_shard_index(MappedFile(path).bytes())) refuse("names another index as a part");
    shards_.push_back(open_checkpoint(path));
    count(shards_.back()->tensors());
    count(shards_.back()->others());
  }

  /// Small files may name many tensors, so what is kept of all files is bounded at once.
  void count(const std::vector<TensorInfo>& tensors) {
    tensors_ += tensors.size();
    for (const TensorInfo& info : tensors) {
      names_ += info.name.size() + sizeof(int64_t) * info.shape.size();
    }
    if (tensors_ > kMostTensors || names_ > kMostNames) {
      refuse("names files with more tensors, or longer names of them, than are read");
    }
  }

  fs::path path_;
  uint64_t index_bytes_ = 0;
  std::vector<std::shared_ptr<const Checkpoint>> shards_;
  std::set<std::pair<dev_t, ino_t>> seen_;
  size_t tensors_ = 0;
  size_t names_ = 0;
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
