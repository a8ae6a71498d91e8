// Runs before the first paint, so that a dark page never flashes white.
const preferred = localStorage.getItem("lumos-theme")
  ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
document.documentElement.dataset.bsTheme = preferred;
