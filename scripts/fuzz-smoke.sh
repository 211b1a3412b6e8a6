#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS (60 if not set): not a campaign, but enough to notice a
# target that no longer builds or falls over at once. Findings stay in fuzz/artifacts/.
exec "$(dirname "$0")/fuzz.sh" smoke
