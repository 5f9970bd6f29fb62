# Installs what package-lock.json names, unless it is there; to be sourced by parts.
command -v npm > /dev/null || { echo "no npm"; exit 77; }
if ! [ node_modules/.package-lock.json -nt package-lock.json ]; then
  npm ci --no-audit --no-fund
fi
