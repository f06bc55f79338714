// Fields that are as high as their text.

/** Fits a field to its text, where the browser does not by itself (`field-sizing`). */
export function grow(field: HTMLTextAreaElement): void {
  if (CSS.supports("field-sizing", "content")) return;
  field.style.setProperty("height", "auto");
  field.style.setProperty("height", `${field.scrollHeight + 2}px`);
}
