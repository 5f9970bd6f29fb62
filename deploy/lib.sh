# Sourced by the scripts of this folder, which run at the root of the tree.
TOOLS=target/tools

# venv NAME: what deploy/requirements/NAME.txt lists, in an environment of its own, whose programs are in "$VENV/bin".
venv() {
  local list=deploy/requirements/$1.txt
  VENV=$PWD/$TOOLS/$1
  if ! cmp -s "$list" "$VENV/installed.txt"; then
    rm -rf "$VENV"
    python3 -m venv "$VENV" || { rm -rf "$VENV"; echo "$1: python3 with venv is needed (Debian: python3-venv)" >&2; return 1; }
    "$VENV/bin/pip" -q install --disable-pip-version-check -r "$list"
    cp "$list" "$VENV/installed.txt"
  fi
}

# install PACKAGE...: of Debian, where that is allowed; what comes of it is for the caller to look at.
install() {
  if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends "$@"; } > /dev/null || true
  fi
}

version() {
  sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml
}
