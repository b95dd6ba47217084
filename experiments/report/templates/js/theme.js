// Light or dark: as the system has it until the button is pressed; kept in this browser where it may be kept.
const THEME = "fewstep-theme";
const isDark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function startTheme() {
  const button = byId("theme");
  const told = () => (button.textContent = isDark() ? "Light theme" : "Dark theme");
  try {
    const kept = localStorage.getItem(THEME);
    if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
  } catch {
    // storage is closed to local files: the system's theme
  }
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    told();
    try {
      localStorage.setItem(THEME, document.documentElement.dataset.theme);
    } catch {
      // for this view alone
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", told);
  told();
}
