export function ModelButton() {
  return null;
}
