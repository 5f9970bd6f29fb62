# Finds Chromium, or installs it where that is allowed; to be sourced. Sets CHROMIUM, unless it is set.
find_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
if [ -z "${CHROMIUM:-}" ] && ! find_chromium > /dev/null && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium || true
fi
export CHROMIUM=${CHROMIUM:-$(find_chromium || true)}
[ -n "$CHROMIUM" ] || { echo "no chromium (Debian package chromium, or set CHROMIUM)"; exit 77; }
