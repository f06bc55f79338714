// The address of a file that the bundler copies.
declare module "*.mjs?url" {
  const url: string;
  export default url;
}
