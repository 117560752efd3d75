#pragma once

namespace bertrand::test {

// Where this build has what tests start, load or read. They are constants of one source file, so
// that a compiler's cache knows the tests in whatever folder the project lies.

extern const char* const kSourceFolder;
extern const char* const kProgram;       ///< bertrand
extern const char* const kTorchProcess;  ///< one of several processes of a test
extern const char* const kTestPlugins;   ///< folder of libraries that are no plug-ins
extern const char* const kStandinMlu;    ///< folder of the stand-in's; empty without the plug-in

}  // namespace bertrand::test
