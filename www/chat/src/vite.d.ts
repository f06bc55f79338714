// What Vite gives to modules, and modules without types.

declare module "*.css";
/** Its own declaration is not where its exports say. */
declare module "fake-indexeddb/auto";
interface ImportMeta {
  readonly env: { readonly DEV: boolean };
}
