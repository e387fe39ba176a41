package app

import (
	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/async/local"
	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/destinations/file"
	functiondest "github.com/millrace/millrace/destinations/function"
	httpdest "github.com/millrace/millrace/destinations/http"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/executor/httpfn"
	"github.com/millrace/millrace/executor/lambdafn"
	"github.com/millrace/millrace/executor/process"
	"github.com/millrace/millrace/executor/wasm"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
	"github.com/millrace/millrace/sources/httpapi"
	"github.com/millrace/millrace/sources/nats"
	"github.com/millrace/millrace/sources/redis"
	"github.com/millrace/millrace/sources/s3"
	"github.com/millrace/millrace/sources/schedule"
	"github.com/millrace/millrace/sources/sns"
)

// Catalogs are the kinds that this binary has: a kind that is not listed here does not exist.
type Catalogs struct {
	Functions    plugin.Catalog[executor.Function]
	Sources      plugin.Catalog[sources.Source]
	Destinations plugin.Catalog[destinations.Destination]
	Stores       plugin.Catalog[async.Store]
}

// NewCatalogs lists the kinds. accept is what destinations of kind function hand their records to; it may be
// nil if none will be opened.
func NewCatalogs(accept functiondest.Accept) (c Catalogs, err error) {
	if c.Functions, err = plugin.NewCatalog(append(process.Specs(), wasm.Spec(), httpfn.Spec(), lambdafn.Spec())...); err != nil {
		return c, err
	}
	if c.Sources, err = plugin.NewCatalog(append(httpapi.Specs(), s3.Spec(), sns.Spec(), schedule.Spec(), nats.Spec(), redis.Spec())...); err != nil {
		return c, err
	}
	if c.Destinations, err = plugin.NewCatalog(file.Spec(), functiondest.Spec(accept), httpdest.Spec()); err != nil {
		return c, err
	}
	c.Stores, err = plugin.NewCatalog(local.Spec())
	return c, err
}

func (c Catalogs) config() config.Kinds {
	return config.Kinds{
		Functions:    config.KindsOf(c.Functions),
		Sources:      config.KindsOf(c.Sources),
		Destinations: config.KindsOf(c.Destinations),
		Stores:       config.KindsOf(c.Stores),
	}
}
