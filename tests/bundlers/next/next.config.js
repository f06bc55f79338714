// The tests build once for a path below the root of a site.
export default { basePath: process.env.BASE_PATH };
