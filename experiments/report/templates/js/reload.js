// A page of a study that goes on loads itself again: not while somebody is typing or has just done something.
const CALM = 5000;

function startReload() {
  const box = byId("reload");
  if (!box) return;
  let last = -Infinity;
  for (const kind of ["pointerdown", "keydown", "wheel", "input"]) addEventListener(kind, () => (last = performance.now()), { passive: true });
  const again = () => {
    const busy = performance.now() - last < CALM || document.querySelector("details.cell[open]") || document.hidden;
    if (box.checked && !busy) location.reload();
    else setTimeout(again, 1000);
  };
  setTimeout(again, Number(box.dataset.every) * 1000);
}
